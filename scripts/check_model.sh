#!/bin/sh
# Checks the model of the combiner, tests/model/combiner.pml, with spin(1): as it is, where it must
# have no error, and with each of its defects, where it must have one.
set -eu
cd "$(dirname "$0")/.."
scripts/need.sh spin gcc
model=$PWD/tests/model/combiner.pml
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
defects="NUMBER_NOT_COMPARED ANSWERS_AFTER_COMMIT LOCK_RELEASED_EARLY PROCESS_NOT_CHECKED"

# search OPTION...: searches all states of the model, and leaves what was found in the file "report".
search() {
    spin "$@" -a "$model" >report
    gcc -O2 -w -DSAFETY -DCOLLAPSE -DMEMLIM=6000 -o pan pan.c
    ./pan -m100000 >>report 2>&1
    grep -E '^pan:1|states, stored|errors:' report
}

for options in "-DKILLS=1 -DSTOPS=1" "-DKILLS=2 -DSTOPS=0"; do
    echo "The model with $options:"
    # shellcheck disable=SC2086 # They are several words.
    search $options
    if ! grep -q 'errors: 0' report || grep -qiE 'depth too small|MEMLIM|Search not completed' report; then
        cat report
        exit 1
    fi
done
for defect in $defects; do
    echo "The model with the defect $defect:"
    grep -q "$defect$" "$model"
    search "-D$defect"
    grep -q 'errors: 1' report
done
