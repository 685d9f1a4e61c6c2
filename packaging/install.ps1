# Installs posthog-llma @VERSION@ into %LOCALAPPDATA%\Programs\posthog-llma, or the folder that POSTHOG_LLMA_BIN names. The
# program's SHA-256 is in this file; anything else is not installed. POSTHOG_LLMA_DIST names a folder to take the release's
# file from, without a network.
$ErrorActionPreference = 'Stop'

$list = @'
@LIST@'@
$platform = if ($env:PROCESSOR_ARCHITECTURE -eq 'ARM64' -or $env:PROCESSOR_ARCHITEW6432 -eq 'ARM64') { 'win32-arm64' } else { 'win32-x64' }
$from = $null
$entry = $null
foreach ($line in $list -split "`r?`n") {
    $words = $line -split ' '
    if ($words[0] -eq 'from') { $from = $words[1] }
    elseif ($words.Count -ge 4 -and $words[2] -eq $platform) { $entry = $words }
}
if (-not $entry) { throw "posthog-llma @VERSION@ was not installed: no program for $platform" }
$archiveDigest, $programDigest, $null, $file = $entry

$folder = if ($env:POSTHOG_LLMA_BIN) { $env:POSTHOG_LLMA_BIN } else { Join-Path $env:LOCALAPPDATA 'Programs\posthog-llma' }
New-Item -ItemType Directory -Force -Path $folder | Out-Null
$archive = Join-Path $folder "$file.part"
$part = Join-Path $folder 'posthog-llma.exe.part'
try {
    if ($env:POSTHOG_LLMA_DIST) {
        Copy-Item (Join-Path $env:POSTHOG_LLMA_DIST $file) $archive
    } else {
        [Net.ServicePointManager]::SecurityProtocol = [Net.ServicePointManager]::SecurityProtocol -bor [Net.SecurityProtocolType]::Tls12
        Invoke-WebRequest -UseBasicParsing -Uri "$from/$file" -OutFile $archive
    }
    if ((Get-FileHash -Algorithm SHA256 $archive).Hash -ne $archiveDigest) { throw "$file is not what was published: its SHA-256 differs" }
    $in = [IO.File]::OpenRead($archive)
    $out = [IO.File]::Create($part)
    try {
        $gzip = New-Object IO.Compression.GZipStream($in, [IO.Compression.CompressionMode]::Decompress)
        $gzip.CopyTo($out)
    } finally {
        $out.Dispose()
        $in.Dispose()
    }
    if ((Get-FileHash -Algorithm SHA256 $part).Hash -ne $programDigest) { throw "the program in $file is not what was published: its SHA-256 differs" }
    Move-Item -Force $part (Join-Path $folder 'posthog-llma.exe')
} catch {
    throw "posthog-llma @VERSION@ was not installed: $_"
} finally {
    Remove-Item -Force -ErrorAction SilentlyContinue $archive, $part
}
Write-Output "posthog-llma @VERSION@ is $(Join-Path $folder 'posthog-llma.exe'); its SHA-256 is the one in this script."
Write-Output 'Next: claude plugin marketplace add @OWNER@/@NAME@; claude plugin install posthog-standalone@posthog-llma'
