#!/bin/sh
# Reads a tapevault volume (format 1) without tapevault.
#
# usage: sh recover.sh [-f FROM] list             names every member of every tape file
#        sh recover.sh [-f FROM] extract DIR      extracts all of it below DIR, checking as it goes
#        sh recover.sh [-f FROM] check [SCRATCH]  the same, but keeps nothing: one tape file at a
#                                                 time is extracted below SCRATCH (default .)
#        sh recover.sh join DIR                   puts the parts of large files below DIR together,
#                                                 when all volumes that hold some are extracted there
#
# FROM is a tape device that does not rewind (default: $TAPE, else /dev/nst0), or a directory in
# which tape file N is N.tar (0.tar is the label).
#
# Needs: sh, mt, dd, GNU tar, b3sum, and grep, sed, head; join: find, sort, stat. Run it as root to
# get owners back.
# Exit status: 0 all is well, 1 something was found that is not, 2 it could not be tried.

LC_ALL=C.UTF-8
export LC_ALL
blocks=1M # the largest block that a volume may have
from=${TAPE:-/dev/nst0}
next=0 # the tape file in front of which the tape stands, or nothing if that is not known
findings=0
session=1

fail() {
    echo "recover.sh: $*" >&2
    exit 2
}

finding() {
    echo "FOUND: $*" >&2
    findings=$((findings + 1))
}

# The path of program $1: some shells have a tar and an mt of their own that would come first.
path_of() {
    (
        IFS=:
        for folder in $PATH; do
            [ -x "$folder/$1" ] && echo "$folder/$1" && exit 0
        done
        exit 1
    )
}

# Brings the tape in front of tape file $1.
position() {
    [ -d "$from" ] && return 0
    if [ "$next" != "$1" ]; then
        "$mt" -f "$from" rewind || return 1
        [ "$1" -eq 0 ] || "$mt" -f "$from" fsf "$1" || return 1
    fi
    next=
}

# Delivers tape file $1, in front of which the tape stands. The number of blocks is kept in
# $work/dd, in the words of dd.
deliver() {
    if [ -d "$from" ]; then
        if [ -f "$from/$1.tar" ]; then
            dd if="$from/$1.tar" bs=$blocks 2>"$work/dd"
        else
            echo "0+0 records in" >"$work/dd"
        fi
    else
        dd if="$from" bs=$blocks 2>"$work/dd"
    fi
    echo $? >"$work/status"
}

# Whether tape file $1, just delivered, was none: the end of data.
was_end() {
    grep -q '^0+0 records in' "$work/dd" && [ "$(cat "$work/status")" = 0 ]
}

# Says that nothing after tape file $1 can be reached: the end of data is missing or damaged.
cut_off() {
    finding "cannot position $from before tape file $1: nothing from there on can be reached"
}

# Takes note of where the tape stands after tape file $1, and whether it could be read.
delivered() {
    if [ "$(cat "$work/status")" = 0 ]; then
        next=$(($1 + 1))
    else
        next=
        finding "tape file $1 could not be read to its end: $(head -n 1 "$work/dd")"
    fi
}

list() {
    number=0
    while :; do
        position "$number" || { cut_off "$number"; break; }
        deliver "$number" | {
            "$tar" -tvf - >"$work/list" 2>"$work/errors"
            cat >/dev/null # so that dd reaches the filemark
        }
        was_end && break
        echo "== tape file $number"
        cat "$work/list"
        delivered "$number"
        [ -s "$work/errors" ] && finding "tape file $number: $(head -n 1 "$work/errors")"
        number=$((number + 1))
    done
    echo "== end of data after $number tape files"
}

# Extracts tape file $1, in front of which the tape stands, below $2. The names go to $work/list.
unpack() {
    mkdir -p "$2" || fail "cannot make $2"
    deliver "$1" | {
        "$tar" -xvpf - -C "$2" --xattrs --warning=no-timestamp \
            --warning=no-xattr-write >"$work/list" 2>"$work/errors"
        cat >/dev/null # so that dd reaches the filemark
    }
}

# The path of the member of ours whose name is $1, from the list of what was extracted.
own() {
    grep "^\.tapevault/[^/]*/$1\$" "$work/list" | head -n 1
}

# Checks what was extracted of tape file $1 below $2.
verify() {
    sums=$(own BLAKE3SUMS)
    seal=$(own SEAL.json)
    if [ -z "$(own TRAILER.json)" ]; then
        finding "tape file $1 has no end: what it holds was not finished and cannot be trusted"
    elif [ -n "$seal" ]; then
        verify_index "$1" "$2/$seal"
    elif [ -z "$sums" ]; then
        finding "tape file $1 has no BLAKE3SUMS"
    elif (cd "$2" && b3sum --check --quiet "$sums") >"$work/check" 2>&1; then
        echo "tape file $1: segment, $(grep -c . "$2/$sums") digests agree"
    else
        finding "tape file $1: $(grep -v '^b3sum: WARNING' "$work/check" | head -n 20)"
    fi
}

# Reads volume index $1 once more and holds it to its seal, $2.
verify_index() {
    bytes=$(sed -n 's/.*"bytes":\([0-9]*\).*/\1/p' "$2")
    sealed=$(sed -n 's/.*"blake3":"\([0-9a-f]*\)".*/\1/p' "$2")
    position "$1" || fail "cannot position $from before tape file $1"
    sum=$(deliver "$1" | { head -c "$bytes" | b3sum --no-names; cat >/dev/null; })
    delivered "$1"
    if [ -n "$sealed" ] && [ "$sum" = "$sealed" ]; then
        echo "tape file $1: volume index, its seal agrees"
    else
        finding "tape file $1: the volume index disagrees with its seal"
    fi
}

# Extracts and verifies every tape file below $1; each is deleted again if $2 is "discard".
walk() {
    number=0
    while :; do
        case $number in
        0) into="$1/label" ;;
        *) into="$1/session-$session" ;;
        esac
        [ "$2" = discard ] && into="$1/tape-file-$number"
        position "$number" || { cut_off "$number"; break; }
        unpack "$number" "$into"
        if was_end; then
            rmdir "$into" 2>/dev/null
            break
        fi
        delivered "$number"
        if [ -s "$work/errors" ] && [ "$2" != discard ] && [ -n "$(own TRAILER.json)" ]; then
            # Most likely a name that another run left as something else.
            echo "tape file $number: $(head -n 1 "$work/errors"); once more, in its own folder" >&2
            into="$1/tape-file-$number"
            position "$number" || fail "cannot position $from before tape file $number"
            unpack "$number" "$into"
            delivered "$number"
        fi
        [ -s "$work/errors" ] && finding "tape file $number: $(head -n 3 "$work/errors")"
        if [ "$number" -eq 0 ]; then
            echo "tape file 0: label of $(sed -n 's/.*"volser": *"\([^"]*\)".*/\1/p' "$into/label.json")"
        else
            verify "$number" "$into"
            # An index closes a session.
            [ -n "$(own SEAL.json)" ] && session=$((session + 1))
        fi
        if [ "$2" = discard ]; then
            chmod -R u+rwx "$into" 2>/dev/null
            rm -rf "$into"
        fi
        number=$((number + 1))
    done
    echo "end of data after $number tape files; $findings findings"
}

# The file below $1 that is part $2, by its path below its own folder; the folder $3 is preferred.
part_of() {
    for folder in "$1/$3" "$1"/session-* "$1"/tape-file-*; do
        [ -f "$folder/$2" ] && echo "$folder/$2" && return 0
    done
    return 1
}

# Puts the item together whose first part is $1/$2/$3.part-00001-of-$4.
join_one() {
    count=$(echo "$4" | sed 's/^0*//')
    into="$1/$2/$3"
    [ -e "$into" ] && finding "$into is there already" && return
    number=0
    : >"$work/parts"
    while [ "$number" -lt "$count" ]; do
        number=$((number + 1))
        name=$(printf '%s.part-%05d-of-%s' "$3" "$number" "$4")
        part_of "$1" "$name" "$2" >>"$work/parts" || {
            finding "$into: part $number of $count is not here"
            return
        }
    done
    while IFS= read -r part; do
        cat <"$part" || echo failed >"$work/failed"
    done <"$work/parts" | if [ -n "$sparse" ]; then
        "$sparse" of="$into" bs=64k iflag=fullblock conv=sparse 2>"$work/dd"
    else
        cat >"$into"
    fi || echo failed >"$work/failed"
    if [ -e "$work/failed" ]; then
        finding "$into could not be written"
        rm -f "$work/failed" "$into"
        return
    fi
    first="$into.part-00001-of-$4"
    owner=$(stat -c %u:%g "$first" 2>/dev/null) && chown "$owner" "$into" 2>/dev/null
    mode=$(stat -c %a "$first" 2>/dev/null) && chmod "$mode" "$into"
    touch -r "$first" "$into"
    echo "joined $into"
}

# Puts the parts below $1 together, beside the first of each. The parts stay.
join() {
    # GNU's leaves holes where there are only zeros.
    sparse=$(path_of dd) && "$sparse" --version 2>/dev/null | grep -q coreutils || sparse=
    (cd "$1" && find . -type f -name '*.part-00001-of-*' | sort) >"$work/firsts"
    while IFS= read -r first; do
        first=${first#./}
        path=${first#*/}
        join_one "$1" "${first%%/*}" "${path%.part-00001-of-*}" "${path##*-of-}"
    done <"$work/firsts"
    echo "$findings findings"
}

if [ "$1" = -f ]; then
    [ -n "$2" ] || fail "-f needs a tape device or a directory"
    from=$2
    shift 2
fi
if [ "$1" = join ]; then
    [ -d "$2" ] || fail "join needs the directory that was extracted to"
    work=$(mktemp -d) || fail "cannot make a temporary directory"
    trap 'rm -rf "$work"' EXIT
    trap 'exit 2' HUP INT TERM
    join "$2"
    [ "$findings" -eq 0 ]
    exit
fi
[ -e "$from" ] || fail "$from is not there; name the tape device with -f"
for tool in dd b3sum; do
    command -v "$tool" >/dev/null || fail "$tool is not installed"
done
tar=$(path_of tar) && "$tar" --version 2>/dev/null | grep -q 'GNU tar' || fail "GNU tar is not installed"
if [ ! -d "$from" ]; then
    mt=$(path_of mt) || fail "mt is not installed"
    "$mt" -f "$from" rewind || fail "cannot rewind $from"
fi
work=$(mktemp -d) || fail "cannot make a temporary directory"
trap 'rm -rf "$work"' EXIT
trap 'exit 2' HUP INT TERM

case $1 in
list) list ;;
extract)
    [ -n "$2" ] || fail "extract needs a directory"
    mkdir -p "$2" || fail "cannot make $2"
    walk "$2" keep
    ;;
check)
    scratch=$(mktemp -d "${2:-.}/tapevault-check.XXXXXX") || fail "cannot write in ${2:-.}"
    walk "$scratch" discard
    rmdir "$scratch"
    ;;
*) fail "usage: sh recover.sh [-f FROM] list | extract DIR | check [SCRATCH] | join DIR" ;;
esac
[ "$findings" -eq 0 ]
