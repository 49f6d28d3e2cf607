#!/bin/bash
# Checks the program in the virtual machine: an emulated library behind the kernel's own st, sg and
# ch, with udev and the project's rules, beside mt, mtx and sg3_utils.
#
# usage: guest.sh [CHECK…]
#
# TAPEVAULT, S3_SERVER and the variables that end in _TESTS name the executables.
#
# Each check is a function `check_NAME`. They run in the order of the list at the end.
set -u
shopt -s nullglob
here=$(cd "$(dirname "$0")" && pwd)
work=/var/tmp/tapevault
library=$work/library
. "$here/library.sh"
. "$here/jobs.sh"

passed=0 failed=0

# Says a fact that must hold, and what was found if it does not.
expect() {
    local text=$1 pattern=$2
    grep -Eq -- "$pattern" <<<"$text" || { echo "no match for: $pattern"; echo "in: $text"; return 1; }
}

# Runs a command that must fail.
refuse() { if "$@"; then echo "succeeded: $*"; return 1; fi; }

run_check() {
    local log=$work/check.log status from=$SECONDS
    # Not in a condition: there `set -e` would not hold inside.
    (set -e; "check_$1") >"$log" 2>&1
    status=$?
    if ((status == 0)); then
        echo "PASS $1 ($((SECONDS - from)) s)"
        passed=$((passed + 1))
    else
        echo "FAIL $1 (status $status)"
        sed 's/^/    /' "$log" | tail -60
        dmesg | tail -15 | sed 's/^/    kernel: /'
        failed=$((failed + 1))
    fi
}

kernel_test() { "$KERNEL_TESTS" --ignored --exact --test-threads 1 "$@"; }

# The drivers keep their prose behind the kernel as they do in one process with the emulator.
check_drivers() {
    TAPEVAULT_TEST_CHANGER=$changer "$CHANGER_TESTS" --exact an_inventory_says_what_is_where
    mtx -f "$changer" load "$(slot_of TST001L8)" 1
    load_drive "$second"
    TAPEVAULT_TEST_DRIVE=$second "$DRIVE_TESTS" --test-threads 1 loaded::
    mt -f "$second" unlock
    mt -f "$second" offline
    mtx -f "$changer" unload "$(free_slot)" 1
}

# As a user without any privilege but the groups named.
as_nobody() {
    local groups=$1
    shift
    setpriv --reuid nobody --regid nogroup --groups "$groups" --inh-caps=-all --ambient-caps=-all "$@"
}

check_nodes() {
    local list
    list=$(lsscsi -g)
    expect "$list" 'tape +TAPEVLT +EMULATED LTO-8.*/dev/st0 +/dev/sg'
    expect "$list" 'mediumx +TAPEVLT .*/dev/sch0 +/dev/sg'
    local node
    for node in /dev/nst0 /dev/st0 /dev/sch0 /dev/sg0; do
        [[ -c $node ]]
        expect "$(stat -c '%G %a' "$node")" '^tape 660$'
    done
}

check_names() {
    local serial
    serial=$(sg_inq --page=sn "$(generic "$drive")" | sed -n 's/.*Unit serial number: *//p')
    [[ -n $serial ]]
    [[ $(readlink -f "/dev/tapevault/drive-$serial") == "$drive" ]]
    local links=(/dev/tape/by-id/*"$serial"*-nst /dev/tape/by-id/*-nst)
    ((${#links[@]}))
    links=(/dev/tapevault/changer-*)
    [[ $(readlink -f "${links[0]}") == "$changer" ]]
}

# A drive without a cartridge neither blocks an open nor looks like one with.
check_empty() {
    expect "$(mt -f "$drive" status 2>&1)" 'DR_OPEN'
    kernel_test an_empty_drive_opens_at_once
}

check_load() {
    mtx -f "$changer" load "$(slot_of VMT001L8)" 0
    expect "$(mtx -f "$changer" status)" 'Data Transfer Element 0:Full .*VolumeTag ?= ?VMT001L8'
    load_drive
}

check_inquiry() {
    local text
    text=$(sg_inq "$(generic "$drive")")
    expect "$text" 'Vendor identification: TAPEVLT'
    expect "$text" 'Product identification: EMULATED LTO-8'
    expect "$text" 'PDT=1'
    expect "$(sg_inq "$changer")" 'PDT=8'
}

check_status() {
    local text
    mt -f "$drive" rewind
    text=$(mt -f "$drive" status)
    expect "$text" 'Density code 0x5e'
    expect "$text" 'BOT'
    expect "$text" 'ONLINE'
    refuse grep -q WR_PROT <<<"$text"
}

check_protection() {
    mtx -f "$changer" load "$(slot_of VMT003L8)" 1
    load_drive "$second"
    expect "$(mt -f "$second" status)" 'WR_PROT'
    refuse dd if=/dev/zero of="$second" bs=64k count=1 status=none
    mt -f "$second" offline
    mtx -f "$changer" unload "$(free_slot)" 1
}

check_logs() {
    local text
    text=$(sg_logs --list "$(generic "$drive")")
    expect "$text" '0x2e'
    expect "$text" '0x31'
    expect "$(sg_logs --page=0x31 "$(generic "$drive")")" '[Cc]apacity'
    expect "$(sg_logs --page=0x2e "$(generic "$drive")")" '[Tt]ape'
}

check_changer() {
    local text
    text=$(mtx -f "$changer" status)
    expect "$text" '2 Drives, [0-9]+ Slots'
    expect "$text" 'Data Transfer Element 1:Empty'
    expect "$text" 'VolumeTag ?= ?VMT002L8'
    expect "$text" 'IMPORT/EXPORT'
    expect "$(mtx -f "$changer" inquiry)" "Product Type: Medium Changer"
}

# The kernel's own path: blocks, filemarks, spacing, positions.
check_tar() {
    local tree=$work/tree
    rm -rf "$tree" "$tree.back"
    mkdir -p "$tree" "$tree.back"
    head -c 3000000 /dev/urandom >"$tree/random"
    cp -r /usr/share/doc/tar "$tree/"
    mt -f "$drive" rewind
    mt -f "$drive" setblk 0
    tar -C "$tree" -b 512 -cf "$drive" .
    expect "$(mt -f "$drive" tell)" 'At block [0-9]+'
    tar -C "$tree" -b 128 -cf "$drive" random
    mt -f "$drive" rewind
    mt -f "$drive" fsf 1
    tar -C "$tree.back" -b 128 -xf "$drive"
    cmp "$tree/random" "$tree.back/random"
    mt -f "$drive" rewind
    expect "$(mt -f "$drive" tell)" 'At block 0'
    tar -C "$tree.back" -b 512 -xf "$drive"
    diff -r "$tree" "$tree.back"
    mt -f "$drive" eod
    expect "$(mt -f "$drive" status)" 'EOD'
    mt -f "$drive" seek 1
    expect "$(mt -f "$drive" tell)" 'At block 1'
    mt -f "$drive" rewind
}

# Early warning comes to a program that only knows write(2) as "no space left".
check_full() {
    local text
    mtx -f "$changer" load "$(slot_of VMT002L8)" 1
    load_drive "$second"
    text=$(refuse dd if=/dev/zero of="$second" bs=256k count=1000 2>&1)
    expect "$text" 'No space left on device'
    mt -f "$second" rewind
    mt -f "$second" eod
    mt -f "$second" offline
    mtx -f "$changer" unload "$(free_slot)" 1
}

check_transport() {
    kernel_test every_name_of_a_drive_leads_to_it \
        every_name_of_a_changer_leads_to_it a_node_of_the_other_kind_is_said_to_be_it a_held_drive_is_busy
    kernel_test a_command_of_the_greatest_length_passes_and_a_longer_one_is_refused
    kernel_test a_short_block_and_a_filemark_come_with_sense_and_length reopening_rewinds
}

# The process that is the drive stops answering, as a drive does behind a pulled cable.
check_lost_reply() {
    TAPEVAULT_SERVER=$(cat "$work/drive0.pid") kernel_test a_command_that_outlives_its_time_has_an_unknown_fate
}

check_privilege() {
    as_nobody "$(getent group tape | cut -d: -f3)" "$KERNEL_TESTS" --ignored --exact without_the_capability_the_error_names_it
    as_nobody "$(getent group nogroup | cut -d: -f3)" "$KERNEL_TESTS" --ignored --exact without_the_group_the_error_names_it
}

# The shipped units are sound, and say no to what they have no need of.
check_units() {
    local folder=/run/systemd/system exposure
    mkdir -p "$folder"
    install -m 755 "$TAPEVAULT" /usr/bin/tapevault
    cp "$here"/../../udev/tapevault* "$folder/"
    cd "$folder"
    systemd-analyze verify ./tapevault-export@job.service ./tapevault-write@job.service \
        ./tapevault-verify.service ./tapevault-verify.timer 2>&1 | tee "$work/units"
    [[ ! -s $work/units ]]
    for unit in tapevault-export@job tapevault-write@job tapevault-verify; do
        ln -sf "${unit/@job/@}.service" "$unit.service" 2>/dev/null || true
        systemd-analyze security --offline=true --threshold=20 "$unit.service" >/dev/null
    done
    systemd-sysusers --dry-run "$folder/tapevault.sysusers"
}

# The drive is served by a process of its own: the kernel goes on when it is killed and started anew.
check_served_anew() {
    mt -f "$drive" rewind
    stop_unit drive0
    start_unit drive0
    expect "$(mt -f "$drive" status)" 'ONLINE'
    mt -f "$drive" tell
}

checks=(nodes names empty load inquiry status protection logs changer tar full transport lost_reply drivers privilege units served_anew "${job_checks[@]}")

mkdir -p "$work"
mount -t tmpfs -o size=2500m none "$work"
make_library || { echo "FAIL the library was not attached"; exit 1; }
(($# == 0)) || checks=("$@")
for check in "${checks[@]}"; do run_check "$check"; done
stop_library
echo "$passed passed, $failed failed"
((failed == 0))
