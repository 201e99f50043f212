# NOT RUN YET: no part of this has been tried on Windows, nor has the frozen worker. Try it on one computer, and tell us
# what you see.
#
# Attach a Windows computer to an xtalgrid project, to compute while nobody uses it. First install BOINC (from
# https://boinc.berkeley.edu/download.php; as a service, it computes while nobody is logged in). Then, as administrator:
#
#   powershell -ExecutionPolicy Bypass -File xtalgrid-volunteer.ps1 install URL KEY      attach it, set when it computes
#   powershell -ExecutionPolicy Bypass -File xtalgrid-volunteer.ps1 uninstall            give back what install found
#
# Options of install, and their defaults: -IdleMinutes 5, -Cpus 50 (percent), -Memory 50 (percent), -Disk 5 (GB).
# -DryRun: say what would be done, and change nothing. Twice is once. BOINC itself stays.
param(
    [Parameter(Mandatory = $true)] [ValidateSet('install', 'uninstall')] [string] $Command,
    [string] $Url,
    [string] $Key,
    [ValidateRange(0, 1440)] [int] $IdleMinutes = 5,
    [ValidateRange(1, 100)] [int] $Cpus = 50,       # 0 is no limit to BOINC
    [ValidateRange(1, 100)] [int] $Memory = 50,
    [ValidateRange(1, 100000)] [int] $Disk = 5,
    [switch] $DryRun
)
$ErrorActionPreference = 'Stop'

function Stop-Here([string] $Message) {
    [Console]::Error.WriteLine("xtalgrid-volunteer: $Message")
    exit 1
}

function Invoke-Step([string] $Message, [scriptblock] $Step) {
    if ($DryRun) { Write-Output "would: $Message" } else { Write-Output $Message; & $Step }
}

function Write-Text([string] $Path, [string] $Text) {
    [IO.File]::WriteAllText($Path, $Text)   # UTF-8 without a mark at the beginning, which BOINC would not read
}

function Test-Same([string] $Path, [string] $Text) {
    (Test-Path $Path) -and [IO.File]::ReadAllText($Path) -eq $Text
}

$setup = Get-ItemProperty 'HKLM:\SOFTWARE\Space Sciences Laboratory, U.C. Berkeley\BOINC Setup' -ErrorAction SilentlyContinue
if (-not $setup) { Stop-Here 'BOINC is not installed: https://boinc.berkeley.edu/download.php' }
$data = $setup.DATADIR
$boinccmd = Join-Path $setup.INSTALLDIR 'boinccmd.exe'
$state = Join-Path $env:ProgramData 'xtalgrid-volunteer'
$prefs = Join-Path $data 'global_prefs_override.xml'
$before = Join-Path $state 'preferences.before'
$service = Get-Service 'BOINC' -ErrorAction SilentlyContinue

function Stop-Client {
    if ($service) { Stop-Service 'BOINC' } else { Push-Location $data; & $boinccmd --quit; Pop-Location; Start-Sleep 10 }
}

function Start-Client {
    if ($service) { Start-Service 'BOINC' } else { Write-Output 'start BOINC Manager, or log in again, to go on' }
}

function Get-ProjectName([string] $Url) {
    ($Url -replace '^[a-z]+://', '' -replace '/$', '') -replace '[^A-Za-z0-9.-]', '_'
}

if ($Command -eq 'install') {
    if ($Url -notmatch '^https?://[^/]*\.[^/]*/(.*/)?$') { Stop-Here "give the project's URL, which ends with /, and the account key" }
    if ($Key -notmatch '^[0-9A-Za-z_]+$') { Stop-Here "'$Key' is no account key" }
    $known = Join-Path $state 'url'
    if ((Test-Path $known) -and -not (Test-Same $known $Url)) { Stop-Here 'this computer is attached to another project; uninstall first' }
    $account = Join-Path $data "account_$(Get-ProjectName $Url).xml"
    $attached = Join-Path $state 'attached'
    if ((Test-Path $account) -and -not (Test-Path $attached)) { Stop-Here "attached to $Url by hand; detach it first" }
    $active = if ($IdleMinutes -eq 0) { 1 } else { 0 }
    $preferences = @"
<global_preferences>
  <run_if_user_active>$active</run_if_user_active>
  <idle_time_to_run>$IdleMinutes</idle_time_to_run>
  <suspend_cpu_usage>25</suspend_cpu_usage>
  <run_on_batteries>0</run_on_batteries>
  <max_ncpus_pct>$Cpus</max_ncpus_pct>
  <ram_max_used_idle_pct>$Memory</ram_max_used_idle_pct>
  <disk_max_used_gb>$Disk</disk_max_used_gb>
  <disk_min_free_gb>10</disk_min_free_gb>
  <work_buf_min_days>0.1</work_buf_min_days>
  <work_buf_additional_days>0</work_buf_additional_days>
  <leave_apps_in_memory>0</leave_apps_in_memory>
</global_preferences>
"@
    $is_attached = (Test-Path $account) -and [IO.File]::ReadAllText($account).Contains("<authenticator>$Key</authenticator>")
    if ($is_attached -and (Test-Same $prefs $preferences)) { Write-Output 'nothing to change'; exit 0 }
    if (-not $DryRun) { [void] (New-Item -ItemType Directory -Force $state); Write-Text $known $Url }
    Invoke-Step "stop BOINC's client" { Stop-Client }
    Invoke-Step "preferences: after $IdleMinutes minutes, $Cpus % of the cores, $Memory % of the memory, $Disk GB" {
        if ((Test-Path $prefs) -and -not (Test-Path $before) -and -not (Test-Path $attached)) { Copy-Item $prefs $before }
        Write-Text $prefs $preferences
        Write-Text (Join-Path $state 'preferences') $preferences
    }
    Invoke-Step "attach the client to $Url" {
        Write-Text $attached ''
        Write-Text $account "<account>`n    <master_url>$Url</master_url>`n    <authenticator>$Key</authenticator>`n</account>`n"
    }
    Invoke-Step "start BOINC's client" { Start-Client }
} else {
    if (-not (Test-Path (Join-Path $state 'url'))) { Write-Output 'nothing to change'; exit 0 }
    $Url = [IO.File]::ReadAllText((Join-Path $state 'url'))
    $name = Get-ProjectName $Url
    Invoke-Step "stop BOINC's client" { Stop-Client }
    Invoke-Step "detach the client from $Url" {
        Remove-Item (Join-Path $data "account_$name.xml"), (Join-Path $data "*_$name.xml") -ErrorAction SilentlyContinue
        Remove-Item -Recurse -Force (Join-Path $data "projects\$name") -ErrorAction SilentlyContinue
    }
    Invoke-Step 'give back the preferences, if nobody has changed them since' {
        if (Test-Same $prefs ([IO.File]::ReadAllText((Join-Path $state 'preferences')))) {
            if (Test-Path $before) { Copy-Item $before $prefs } else { Remove-Item $prefs }
        }
    }
    Invoke-Step 'forget what was found' { Remove-Item -Recurse -Force $state }
    Invoke-Step "start BOINC's client" { Start-Client }
}
