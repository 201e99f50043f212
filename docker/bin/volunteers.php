<?php
// `docker compose run --rm volunteers NAME`: makes an account for workstations, or finds it, and prints how to attach.
// Account creation stays closed to everybody else.
if ($argc != 2 || !preg_match('/^[A-Za-z][A-Za-z0-9_-]{0,60}$/', $argv[1])) {
    fwrite(STDERR, "usage: docker compose run --rm volunteers NAME (letters, digits, - and _)\n");
    exit(2);
}
$name = $argv[1];
chdir(getenv('PROJECT_ROOT') . '/html/ops');
$cli_only = true;
require_once '../inc/util_ops.inc';
require_once '../inc/user_util.inc';

$address = "$name@volunteers.example.org";   // BOINC wants an address; nothing is sent to it
$user = BoincUser::lookup_email_addr($address);
if (!$user) {
    $user = make_user($address, $name, bin2hex(random_bytes(16)));   // a password that nobody knows: the key is enough
}
if (!$user) {
    fwrite(STDERR, 'BOINC made no account: ' . BoincDb::error() . "\n");
    exit(1);
}
$url = rtrim(getenv('URL_BASE'), '/') . '/' . getenv('PROJECT') . '/';
echo "account key   $user->authenticator\n";
echo "on Linux      sh xtalgrid-volunteer.sh install $url $user->authenticator\n";
echo "on Windows    \"C:\\Program Files\\BOINC\\boinccmd.exe\" --project_attach $url $user->authenticator\n";
