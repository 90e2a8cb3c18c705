# shellcheck shell=bash
# shellcheck disable=SC2154 # what the driver sets
# shellcheck disable=SC2016,SC2034 # apt's own variables; conditions are evaluated anew at each look
#
# Machines with a real systemd: a Debian tree that is made once, and containers of it that live for one scenario.
#
#   tree (cached, never written to) ── overlay in memory ── systemd-nspawn, a network of its own
#
# A machine's files outlive the death of its systemd: `power_cut` and `power_on` are a reboot in the middle of things.

# What a tree has besides Debian's minimum. A change makes new trees.
packages=systemd,systemd-sysv,dbus,polkitd,nginx,apache2-bin,curl,openssl,jq,procps

# Makes the tree of a Debian release, if there is none yet, and prints where it is.
tree() { # RELEASE
    local release=$1 mirror tree
    tree=$cache/$release-$(sha256sum <<<"$packages" | cut -c1-12)
    if [[ ! -d $tree ]]; then
        # Wherever this machine has its own packages from.
        mirror=$(apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(COMPONENT)|$(REPO_URI)' 'Created-By: Packages' |
            sed -n 's/^Debian|Debian|main|//p' | head -n 1)
        [[ -n $mirror ]] || { echo "this machine's apt knows no Debian mirror" >&2; return 1; }
        local options=() line
        while IFS= read -r line; do
            options+=(--aptopt="$line")
        done < <(apt-config dump | grep -E '^Acquire::https?::.*"..*";$')
        rm -rf "$tree.new"
        mkdir -p "$cache"
        echo "tests/systemd/run: making a tree of $release, once" >&2
        mmdebstrap --quiet --variant=minbase --include="$packages" \
            --aptopt='Acquire::Retries "3"' --aptopt='APT::Install-Recommends "false"' "${options[@]}" \
            --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
            --dpkgopt='path-exclude=/usr/share/locale/*' \
            "$release" "$tree.new" "$mirror" >&2 || return 1
        mv "$tree.new" "$tree"
    fi
    echo "$tree"
}

# A new machine of a tree, switched off. Sets $root, where its files are.
new_machine() { # TREE NAME
    machine=$work/$2
    root=$machine/files/root
    mkdir -p "$machine/files"
    mount -t tmpfs -o mode=0755 trustsync-test "$machine/files"
    mkdir "$machine/files/"{changes,work,root}
    mount -t overlay overlay -o "lowerdir=$1,upperdir=$machine/files/changes,workdir=$machine/files/work" "$root"
    # An identity, or systemd takes each boot for the first; a journal that outlives it; and no network to wait for.
    head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$root/etc/machine-id"
    mkdir -p "$root/var/log/journal"
    local unit
    for unit in systemd-networkd.service systemd-networkd-wait-online.service systemd-resolved.service; do
        ln -sf /dev/null "$root/etc/systemd/system/$unit"
    done
    : >"$root/usr/local/bin/trustsync"
}

# Boots it; returns when its systemd has started everything.
power_on() {
    (
        own_control_group "trustsync-test-$$-$BASHPID"
        exec systemd-nspawn --quiet --directory="$root" --machine="trustsync-$BASHPID" \
            --private-network --register=no --keep-unit --boot --console=pipe \
            --bind-ro="$binary:/usr/local/bin/trustsync" </dev/null >>"$machine/console" 2>&1
    ) &
    echo $! >"$machine/nspawn"
    # Or the shell would announce its death.
    disown
    eventually 60 "the machine is up" is_up
}

is_up() {
    pgrep -P "$(<"$machine/nspawn")" >"$machine/leader" || return 1
    [[ $(inside systemctl is-system-running 2>/dev/null) =~ ^(running|degraded)$ ]]
}

# All of it is gone from one moment to the next, as if the plug had been pulled; its files stay.
power_cut() {
    kill -KILL "$(<"$machine/leader")"
    local nspawn
    nspawn=$(<"$machine/nspawn")
    eventually 60 "the machine is off" eval "! kill -0 $nspawn 2>/dev/null"
}

# Whatever state it is in.
remove_machine() {
    if [[ -s $machine/leader ]]; then
        kill -KILL "$(<"$machine/leader")" 2>/dev/null || true
    fi
    if [[ -s $machine/nspawn ]]; then
        local nspawn
        nspawn=$(<"$machine/nspawn")
        eventually 10 "the machine is off" eval "! kill -0 $nspawn 2>/dev/null" || kill -KILL "$nspawn" || true
    fi
    umount --lazy "$root" "$machine/files" 2>/dev/null || true
}

# Runs a command in it, as its root.
inside() {
    nsenter --all --target "$(<"$machine/leader")" -- env -i PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 "$@"
}

# Two systemds in one control group would take each other's services for their own.
own_control_group() { # NAME
    local controllers path at
    while IFS=: read -r _ controllers path; do
        case $controllers in
        '') at=/sys/fs/cgroup; [[ -f $at/cgroup.controllers ]] || at=/sys/fs/cgroup/unified ;;
        name=systemd) at=/sys/fs/cgroup/systemd ;;
        *) continue ;;
        esac
        [[ -d $at ]] || continue
        mkdir -p "$at${path%/}/$1"
        echo "$BASHPID" >"$at${path%/}/$1/cgroup.procs"
    done </proc/self/cgroup
}

# Takes away the control groups of machines that are gone, from the innermost.
remove_control_groups() {
    local groups=(find /sys/fs/cgroup -depth -type d -path "*/trustsync-test-$$-*")
    # Who was killed a moment ago is still in there.
    eventually 10 "the control groups are empty" eval '"${groups[@]}" -exec rmdir {} + ; [[ -z $("${groups[@]}") ]]' || true
}

# Waits until a command succeeds.
eventually() { # SECONDS WHAT COMMAND...
    local deadline=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        if ((SECONDS > deadline)); then
            echo "waited in vain: $what"
            return 1
        fi
        sleep 0.1
    done
}

# A command must succeed now.
must() { # WHAT COMMAND...
    local what=$1
    shift
    "$@" || { echo "not so: $what"; return 1; }
}
