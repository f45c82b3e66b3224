#!/bin/sh
# prefix.sh FOLDER PACKAGE...: unpacks arm64 packages of Debian, with what they depend on, into FOLDER. Runs nothing of
# them and leaves the machine's own packages alone: apt gets a root of its own.
set -eu
folder=$1
shift
private=$folder/.apt
mkdir -p "$private/state/lists/partial" "$private/cache/archives/partial" "$private/etc/preferences.d" "$private/etc/apt.conf.d"
: >"$private/status"
suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
mirror=$(sed -n 's/^URIs: *//p' /etc/apt/sources.list.d/debian.sources 2>/dev/null | head -n 1)
[ -n "$mirror" ] || mirror=$(sed -n 's/^deb *\(\[[^]]*\] *\)\{0,1\}\([^ ]*\) .*/\2/p' /etc/apt/sources.list | head -n 1)
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >"$private/etc/sources.list"
apt() {
    apt-get -q -y -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o APT::Install-Recommends=false \
        -o Dir::Etc="$private/etc" -o Dir::State="$private/state" -o Dir::State::status="$private/status" \
        -o Dir::Cache="$private/cache" -o Debug::NoLocking=1 -o APT::Sandbox::User=root "$@"
}
apt update
apt install --download-only "$@"
mkdir -p "$folder/usr/bin" "$folder/usr/sbin" "$folder/usr/lib"
for part in bin sbin lib; do # these are links into usr before anything is unpacked
    [ -e "$folder/$part" ] || ln -s "usr/$part" "$folder/$part"
done
for package in "$private"/cache/archives/*.deb; do
    dpkg-deb --fsys-tarfile "$package" | tar -x --keep-directory-symlink -C "$folder"
done
rm -rf "$private"
