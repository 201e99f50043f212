#!/bin/sh
# Opens an issue that the newest libraries break xtalgrid, or adds a comment to the open one: .github/tell_breakage.sh URL-OF-THE-RUN. By gh, in newest.yml.
set -eu
title="The newest libraries break the tests"
text="$1 failed with the newest versions that pyproject.toml allows. Main is not concerned: it goes by scripts/locks/.
Mend the code, or narrow the range in pyproject.toml; \`scripts/lock.sh --upgrade\` then renews the lock."
issue=$(gh issue list --state open --search "in:title \"$title\"" --json number --jq '.[0].number // empty')
if [ -n "$issue" ]; then gh issue comment "$issue" --body "$text"; else gh issue create --title "$title" --body "$text"; fi
