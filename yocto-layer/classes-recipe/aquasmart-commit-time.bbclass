# AQUASMART_COMMIT_TIME: when the last commit of this repository was made, in seconds of Unix time. An image made twice from
# one commit has the same times in it, and its clock floor (/usr/lib/clock-epoch) never lies after the day it was built.

def aquasmart_commit_time(d):
    import subprocess
    given = d.getVar('AQUASMART_COMMIT_TIME_GIVEN')
    if given:
        return given
    try:
        return subprocess.run(['git', '-c', 'safe.directory=*', '-C', d.getVar('AQUASMART_REPOSITORY'), 'log', '-1', '--format=%ct'], check=True,
                              capture_output=True, text=True).stdout.strip() or '1735689600'
    except (OSError, subprocess.CalledProcessError):
        # A tree without its history: the day before which this software did not exist.
        return '1735689600'

AQUASMART_COMMIT_TIME ?= "${@aquasmart_commit_time(d)}"
