# Functions for the guest: an emulated library behind the kernel's drivers, through TCM-user.
# shellcheck shell=bash
#
# It has two drives and a changer on one target, as hardware has. The caller sets TAPEVAULT, work
# and library. Afterwards drive, second and changer are the nodes of the library's first and second
# drive and of its robot. The kernel meets the second drive first and calls it nst0: only serial
# numbers tell which is which.

target=/sys/kernel/config/target
loopback=$target/loopback/naa.5001405000000001/tpgt_1

# Makes the library and attaches all of it.
make_library() {
    "$TAPEVAULT" emulator-make "$library" || return 1
    mkdir -p "$loopback" || return 1
    echo naa.5001405000000002 >"$loopback/nexus" || return 1
    attach_unit drive1 1 && attach_unit drive0 0 && attach_unit changer 2 || return 1
    udevadm settle
    drive=/dev/nst1 second=/dev/nst0
    changer=$(generic /dev/sch0)
    [[ -c $drive && -c $second && -c $changer ]] || { lsscsi -g; dmesg | tail -20; return 1; }
}

# Gives the kernel a unit: attach_unit UNIT LUN
attach_unit() {
    local core=$target/core/user_0/$1
    mkdir -p "$core" || return 1
    echo "dev_config=tapevault/$1,dev_size=1048576,hw_block_size=512,max_data_area_mb=64,nl_reply_supported=-1" \
        >"$core/control" || return 1
    echo 1 >"$core/enable" || return 1
    # Reservations are the drive's own affair, too.
    echo 0 >"$core/attrib/pgr_support" || return 1
    start_unit "$1" || return 1
    mkdir "$loopback/lun/lun_$2" || return 1
    ln -s "$core" "$loopback/lun/lun_$2/$1" || return 1
}

# Starts the process that answers for a unit: start_unit UNIT [FAULT…]
start_unit() {
    local uio fault faults=()
    for fault in "${@:2}"; do faults+=(--fault "$fault"); done
    uio=$(grep -l "/$1/tapevault/$1\$" /sys/class/uio/uio*/name | head -1)
    uio=/dev/$(basename "$(dirname "$uio")")
    "$TAPEVAULT" emulator-serve "$library" "$1" "$uio" "${faults[@]}" >>"$work/$1.log" 2>&1 &
    echo $! >"$work/$1.pid"
}

stop_unit() {
    kill -9 "$(cat "$work/$1.pid")"
    wait "$(cat "$work/$1.pid")" 2>/dev/null || true
}

stop_library() {
    local unit
    for unit in drive0 drive1 changer; do stop_unit "$unit"; done
}

# The sg node of a tape or changer node.
generic() {
    local name
    name=$(basename "$(readlink -f "$1")")
    local found=(/sys/class/scsi_*/"$name"/device/scsi_generic/sg*)
    echo "/dev/$(basename "${found[0]}")"
}

# Has the drive thread what was put in, and waits until it is ready: load_drive [NODE]
load_drive() {
    local node=${1:-$drive}
    mt -f "$node" load
    timeout 60 sh -c "until mt -f $node status | grep -q ONLINE; do sleep 1; done"
}

# The number, as mtx counts, of the slot with a cartridge, or of an empty one.
slot_of() { mtx -f "$changer" status | sed -n "s/^ *Storage Element \([0-9]*\).*:Full.*$1.*/\1/p" | head -1; }
free_slot() { mtx -f "$changer" status | sed -n 's/^ *Storage Element \([0-9]*\):Empty.*/\1/p' | head -1; }
