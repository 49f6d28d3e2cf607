# Checks for the guest: whole jobs through the kernel's drivers, from a bucket to a cartridge and back.
# shellcheck shell=bash
#
# They build on each other, in the order of `job_checks`. Sourced by guest.sh.

job_checks=(fit label archive label_tar recover agreement find restore append killed rebuild busy no_medium library set sealed_set cleaning)

home=$work/home
bucket=$work/bucket

# The bucket's credentials, for its server and for the source.
export KEY_ID=vmreader KEY_SECRET=vmsecret

tv() { "$TAPEVAULT" --config "$home/tapevault.toml" "$@"; }

# A bucket on this machine, and a config that knows it, the drive and the changer by stable names.
make_home() {
    mkdir -p "$home" "$bucket/deep/er"
    head -c 5000000 /dev/urandom >"$bucket/random"
    : >"$bucket/empty"
    cp -r /usr/share/doc/tar /usr/share/doc/bash "$bucket/deep/"
    find "$bucket" -type l -delete
    seq 100000 >"$bucket/deep/er/numbers ünïcode"
    serve_bucket
    local robot=(/dev/tapevault/changer-*)
    cat >"$home/tapevault.toml" <<TOML
[catalog]
path = "catalog.sqlite"
rehearsal = true
[staging]
dir = "staging"
budget = "2 GiB"
ring = "32 MiB"
[library]
changer = "${robot[0]}"
[drives.lto]
device = "$(by_id "$drive")"
[pools.vm]
label_blank = false
[sources.bucket]
type = "s3"
bucket = "$(told bucket)"
region = "$(told region)"
endpoint = "$(told endpoint)"
style = "path"
versions = "all"
key_variables = ["KEY_ID", "KEY_SECRET"]
[jobs.bucket]
sources = ["bucket"]
pool = "vm"
TOML
    chmod 600 "$home/tapevault.toml"
}

# What the bucket's server said of itself.
told() { sed -n "s/^$1=//p" "$work/bucket.log"; }

serve_bucket() {
    if [[ -e $work/bucket.pid ]]; then kill "$(cat "$work/bucket.pid")"; fi
    # It serves until its standard input ends.
    tail -f /dev/null | AWS_ACCESS_KEY_ID=$KEY_ID AWS_SECRET_ACCESS_KEY=$KEY_SECRET \
        "$S3_SERVER" "$bucket" >"$work/bucket.log" 2>&1 &
    echo $! >"$work/bucket.pid"
    timeout 60 sh -c "until grep -q '^endpoint=' $work/bucket.log; do sleep 0.2; done"
}

check_fit() {
    make_home
    tv check
}

check_label() {
    tv library load VMT004L8
    tv media label VMT004 --pool vm
}

check_archive() {
    tv archive bucket
    # It was ejected: the drive is empty, the cartridge in a slot or the mail slot.
    expect "$(mtx -f "$changer" status)" 'Data Transfer Element 0:Empty'
    expect "$(tv media show VMT004)" 'VMT004'
}

# Puts a cartridge back into the drive, with no help of tapevault's.
by_hand() {
    local from
    from=$(mtx -f "$changer" status | sed -n "s/^ *Storage Element \([0-9]*\).*:Full.*$1.*/\1/p" | head -1)
    mtx -f "$changer" load "$from" 0
    load_drive
}

# Stock tar reads the label without being told anything.
check_label_tar() {
    by_hand VMT004L8
    rm -rf "$work/label"
    mkdir "$work/label"
    cd "$work/label"
    mt -f "$drive" rewind
    tar xf "$drive"
    expect "$(cat label.json)" '"volser": *"VMT004"'
    [[ -s README.txt && -s recover.sh ]]
}

# What was read off the tape reads the rest of it, with mt, dd, tar and b3sum alone.
check_recover() {
    local text
    text=$(sh "$work/label/recover.sh" -f "$drive" list)
    expect "$text" 'bucket.*/random'
    text=$(sh "$work/label/recover.sh" -f "$drive" check "$work")
    expect "$text" 'digests agree'
    expect "$text" 'seal agrees'
    expect "$text" ' 0 findings'
    rm -rf "$work/recovered"
    sh "$work/label/recover.sh" -f "$drive" extract "$work/recovered"
    local wanted
    wanted=$(b3sum --no-names "$bucket/random")
    find "$work/recovered" -type f -exec b3sum {} + | grep -q "^$wanted"
}

# tapevault and the tools that everybody has say the same of the drive.
check_agreement() {
    local ours theirs
    mt -f "$drive" rewind
    theirs=$(mt -f "$drive" status)
    ours=$(tv drive status)
    echo "$ours"
    expect "$theirs" 'Density code 0x5e'
    expect "$ours" 'LTO-8'
    expect "$theirs" 'ONLINE'
    expect "$ours" 'VMT004'
    expect "$ours" "$(sg_inq --page=sn "$(generic "$drive")" | sed -n 's/.*Unit serial number: *//p')"
    expect "$(mt -f "$drive" tell)" 'At block 0'
    mt -f "$drive" offline
    mtx -f "$changer" unload "$(free_slot)" 0
}

check_find() {
    [[ $(tv find random --count) == 1 ]]
    expect "$(tv find 'numbers')" 'VMT004'
}

check_restore() {
    rm -rf "$work/restored"
    tv restore --to "$work/restored"
    diff -r "$bucket" "$work/restored/bucket"
}

# A second run archives only what changed, behind what is there.
check_append() {
    echo changed >"$bucket/changed"
    rm "$bucket/empty"
    serve_bucket
    tv archive bucket
    rm -rf "$work/restored"
    tv restore changed --to "$work/restored"
    cmp "$bucket/changed" "$work/restored/bucket/changed"
}

# The program is killed over a write; the drive lives on, and the same command completes.
check_killed() {
    head -c 30000000 /dev/urandom >"$bucket/killed"
    serve_bucket
    (exec "$TAPEVAULT" --config "$home/tapevault.toml" archive bucket) >"$work/killed.log" 2>&1 &
    local job=$! before
    before=$(stat -c %s "$library"/cartridges/VMT004L8.tap)
    # Some of the new data is on the cartridge, and not all.
    timeout 120 sh -c "until [ \$(stat -c %s $library/cartridges/VMT004L8.tap) -gt $((before + 4000000)) ]; do sleep 0.05; done"
    kill -9 $job
    wait $job || true
    tv archive bucket
    rm -rf "$work/restored"
    tv restore killed --to "$work/restored"
    cmp "$bucket/killed" "$work/restored/bucket/killed"
}

# The cartridge alone makes the catalog anew.
check_rebuild() {
    tv find '' --json >"$work/before"
    mv "$home/catalog.sqlite" "$work/lost.sqlite"
    rm -f "$home"/catalog.sqlite-*
    tv catalog rebuild VMT004L8
    [[ $(tv find '' --count) == "$(wc -l <"$work/before")" ]]
}

# Another program holds the drive.
check_busy() {
    local status=0 text
    sleep 600 <>"$drive" &
    local holder=$!
    sleep 1
    text=$(tv drive status 2>&1) || status=$?
    kill $holder
    expect "$text" 'in use by another program'
    ((status == 5))
}

check_no_medium() {
    local status=0 text
    text=$(tv verify --drive lto </dev/null 2>&1) || status=$?
    expect "$text" '.'
    ((status == 3 || status == 4))
}

set_home=$work/set
clear_text='this stands in the clear on a tape that is not encrypted'

tvs() { "$TAPEVAULT" --config "$set_home/tapevault.toml" "$@"; }

# The by-id name of a node, which is not opened for this: st waits two minutes for a cartridge.
by_id() {
    local link
    for link in /dev/tape/by-id/*-nst; do
        [[ $(readlink -f "$link") != "$1" ]] || { echo "$link"; return; }
    done
}

# Two drives in their library, a directory, and a pool in the clear beside one that is not.
make_set_home() {
    local robot=(/dev/tapevault/changer-*) file
    mkdir -p "$set_home/source"
    for file in {10..25}; do
        { yes "$clear_text" | head -c 20000 || true; head -c 2000000 /dev/urandom; } >"$set_home/source/$file"
    done
    (umask 077; echo 'a passphrase for the machine' >"$set_home/passphrase")
    cat >"$set_home/tapevault.toml" <<TOML
[catalog]
path = "catalog.sqlite"
rehearsal = true
[staging]
dir = "staging"
budget = "256 MiB"
segment = "4 MiB"
ring = "16 MiB"
[keys]
file = "keys.age"
passphrase_file = "passphrase"
[library]
changer = "${robot[0]}"
[drives.first]
device = "$(by_id "$drive")"
[drives.second]
device = "$(by_id "$second")"
[pools.clear]
label_blank = true
block_size = "256 KiB"
[pools.sealed]
label_blank = true
block_size = "256 KiB"
encryption = "pool-key"
block_protection = "required"
[sources.clear]
type = "directory"
path = "source"
[sources.sealed]
type = "directory"
path = "source"
[jobs.clear]
sources = ["clear"]
pool = "clear"
[jobs.sealed]
sources = ["sealed"]
pool = "sealed"
TOML
    chmod 600 "$set_home/tapevault.toml"
}

# Which drive is which: the library's order is not the kernel's.
check_library() {
    make_set_home
    local text serial
    # What the jobs before left in mail slots.
    tvs library import
    text=$(tvs library status)
    echo "$text"
    expect "$text" 'EMULATED LIBRARY'
    serial=$(sg_inq --page=sn "$(generic /dev/nst1)" | sed -n 's/.*Unit serial number: *//p')
    expect "$text" "^first +256 +$serial "
    serial=$(sg_inq --page=sn "$(generic /dev/nst0)" | sed -n 's/.*Unit serial number: *//p')
    expect "$text" "^second +257 +$serial "
    tvs library load CLR004L8 --drive second
    expect "$(mtx -f "$changer" status)" 'Data Transfer Element 1:Full .*CLR004L8'
    expect "$(mt -f /dev/nst0 status)" 'ONLINE'
    expect "$(mt -f /dev/nst1 status 2>&1)" 'DR_OPEN'
    text=$(tvs library inventory)
    echo "$text"
    expect "$text" '^drive element 257 +CLR004L8 .*second, .*from slot'
    tvs library unload --drive second
    tvs library export CLR004L8
    expect "$(mtx -f "$changer" status)" 'IMPORT/EXPORT:Full .*CLR004L8'
    tvs library import CLR004L8
}

# A fault of the drive that the sets are written in.
warn_early() { echo "{\"barcode\":\"$1\",\"command\":\"write\",\"from_object\":45,\"effect\":\"early-warning\"}"; }
fail_half_way() { echo "{\"barcode\":\"$1\",\"command\":\"write\",\"from_object\":30,\"effect\":\"medium-error\"}"; }

# Writes a set in the second drive: two cartridges warn early, and one between them fails half-way.
# write_set JOB PREFIX
write_set() {
    local status=0 volser
    stop_unit drive1
    start_unit drive1 "$(warn_early "${2}001L8")" "$(fail_half_way "${2}002L8")" "$(warn_early "${2}003L8")"
    tvs archive "$1" --drive second >"$work/set.log" 2>&1 || status=$?
    cat "$work/set.log"
    stop_unit drive1
    start_unit drive1
    # It is done, and what failed is a finding.
    ((status == 1))
    expect "$(cat "$work/set.log")" "${2}002.*medium error"
    for volser in "${2}001" "${2}003"; do
        expect "$(tvs media show "$volser")" 'read back'
        expect "$(tvs media show "$volser")" 'status +full'
    done
    # All of it left through the mail slots.
    expect "$(mtx -f "$changer" status)" "IMPORT/EXPORT:Full .*${2}001L8"
    expect "$(mtx -f "$changer" status)" "IMPORT/EXPORT:Full .*${2}004L8"
    tvs library import
}

# Brings a set back in the first drive, which did not write it.
restore_set() {
    rm -rf "$work/restored"
    tvs restore --source "$1" --to "$work/restored" --drive first
    diff -r "$set_home/source" "$work/restored/$1"
}

check_set() {
    write_set clear CLR
    restore_set clear
    grep -q "$clear_text" "$library"/cartridges/CLR001L8.tap
}

# The same with a key in the drive and a CRC on every block.
check_sealed_set() {
    local id words
    id=$(tvs --json key new --pool sealed | sed -n 's/.*"key": *"\([^"]*\)".*/\1/p')
    tvs key export "$id" --to "$set_home/page.txt"
    mapfile -t words < <(grep '^    ' "$set_home/page.txt" | head -4 | awk '{ print $NF }')
    tvs key prove "$id" "${words[@]}"
    write_set sealed ENC
    [[ ! -e $library/drives/drive1.key ]]
    # Without the key the label can be read and nothing behind it, and what is on the tape is no text.
    mtx -f "$changer" load "$(slot_of ENC001L8)" 0
    load_drive
    mkdir -p "$work/sealed-label"
    (cd "$work/sealed-label" && mt -f "$drive" rewind && tar xf "$drive")
    expect "$(cat "$work/sealed-label/label.json")" "\"key_id\": *\"$id\""
    expect "$(cat "$work/sealed-label/label.json")" '"block_protection": *"crc32c"'
    mt -f "$drive" rewind
    mt -f "$drive" fsf 1
    refuse dd if="$drive" bs=256k count=1 of=/dev/null status=none
    mt -f "$drive" offline
    mtx -f "$changer" unload "$(free_slot)" 0
    refuse grep -q "$clear_text" "$library"/cartridges/ENC00?L8.tap
    restore_set sealed
}

check_cleaning() {
    tvs library clean --drive second
    expect "$(mtx -f "$changer" status)" 'Storage Element [0-9]+:Full .*CLNU01L8'
    expect "$(mtx -f "$changer" status)" 'Data Transfer Element 1:Empty'
}
