#!/bin/sh
# Keys for trying updates out: an authority, and a certificate for signing bundles under it, in a folder of their own.
#   development-keys.sh FOLDER
# keyring.pem goes into images, bundle.key.pem and bundle.cert.pem sign bundles, ca.key.pem makes further certificates.
# For a fleet keep ca.key.pem off every machine with a network, and the signing key in a token (RAUC takes PKCS#11).
set -eu
folder=${1:?which folder? It must lie outside the source tree}
here=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$folder"
chmod 700 "$folder"
folder=$(cd "$folder" && pwd)
case $folder/ in
"$here"/*)
  echo "$folder is inside the source tree: a key there would be committed one day" >&2
  exit 1
  ;;
esac
if [ -e "$folder/ca.key.pem" ] || [ -e "$folder/bundle.key.pem" ]; then
  echo "$folder holds keys already: stations that trust them could not be updated any more" >&2
  exit 1
fi
umask 077
name=${2:-development}
cd "$folder"
openssl req -x509 -newkey rsa:3072 -nodes -sha256 -days 7300 -keyout ca.key.pem -out keyring.pem \
  -subj "/O=AquaSmart/CN=AquaSmart bundles, $name" \
  -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign" 2>/dev/null
openssl req -newkey rsa:3072 -nodes -sha256 -keyout bundle.key.pem -out bundle.csr.pem \
  -subj "/O=AquaSmart/CN=AquaSmart bundle signer, $name" 2>/dev/null
# codeSigning is what a station asks for; emailProtection what `rauc info --keyring` asks for without a configuration.
cat >bundle.ext <<'WORDS'
basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=critical,codeSigning,emailProtection
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid
WORDS
openssl x509 -req -sha256 -days 3650 -in bundle.csr.pem -CA keyring.pem -CAkey ca.key.pem -CAcreateserial \
  -extfile bundle.ext -out bundle.cert.pem 2>/dev/null
rm -f bundle.csr.pem bundle.ext keyring.srl
chmod 644 keyring.pem bundle.cert.pem
echo "made in $folder: keyring.pem, bundle.cert.pem, bundle.key.pem, ca.key.pem"
