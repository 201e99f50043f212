#!/bin/sh
# Opens an issue, or comments on the open one, if the newest libraries break xtalgrid: .github/report_breakage.sh
# URL-OF-THE-RUN. Needs gh; called by newest.yml.
set -eu
title="The newest libraries break the tests"
text="$1 failed. If its tests did, the newest versions that pyproject.toml allows break them; main is not affected, because
it uses scripts/locks/. Fix the code, or narrow the range in pyproject.toml; then renew the lock with
\`scripts/lock.sh --upgrade\`. If its job advisories did, renew the package that it names, and release."
issue=$(gh issue list --state open --search "in:title \"$title\"" --json number --jq '.[0].number // empty')
if [ -n "$issue" ]; then gh issue comment "$issue" --body "$text"; else gh issue create --title "$title" --body "$text"; fi
