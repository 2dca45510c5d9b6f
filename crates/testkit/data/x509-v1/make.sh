#!/bin/sh
# Makes the certificates of this folder as Istio's task "Secure Gateways" does, with OpenSSL 3.0: without extensions `openssl x509 -req`
# writes X.509 version 1. Valid for 100 years. The keys guard nothing.
set -eu
cd "$(dirname "$0")"
days=36500
# An authority of version 3, as `openssl req -x509` makes it, and one of version 1.
openssl req -x509 -sha256 -nodes -days $days -newkey rsa:2048 -subj '/O=example Inc./CN=example.com' -keyout ca.key -out ca.crt
openssl req -nodes -newkey rsa:2048 -subj '/O=example Inc./CN=old.example.com' -keyout ca-v1.key -out ca-v1.csr
openssl x509 -req -sha256 -days $days -signkey ca-v1.key -in ca-v1.csr -out ca-v1.crt
# A server and a client of version 1 by the first, and a server of version 1 by the second.
leaf() { # name, subject, authority, kind of key
  openssl req -nodes -newkey $4 -subj "$2" -keyout "$1.key" -out "$1.csr"
  openssl x509 -req -sha256 -days $days -CA "$3.crt" -CAkey "$3.key" -set_serial 1 -in "$1.csr" -out "$1.crt"
}
leaf server '/CN=httpbin.example.com/O=httpbin organization' ca rsa:2048
leaf client '/CN=client.example.com/O=client organization' ca rsa:2048
leaf server-ec '/CN=httpbin.example.com/O=httpbin organization' ca-v1 'ec -pkeyopt ec_paramgen_curve:P-256'
# The keys once more: RSA's own form, encrypted, on a curve that TLS does not use.
openssl rsa -in server.key -traditional -out server-pkcs1.key
openssl pkcs8 -topk8 -in server.key -passout pass:secret -out server-encrypted.key
openssl ecparam -name secp256k1 -genkey -noout -out unknown-curve.key
# A list of revoked certificates of the first authority, which takes the client's back.
: >index.txt
echo 01 >crlnumber
printf '[ca]\ndefault_ca=it\n[it]\ndatabase=index.txt\ncrlnumber=crlnumber\ndefault_md=sha256\n' >ca.cnf
openssl ca -config ca.cnf -revoke client.crt -keyfile ca.key -cert ca.crt
openssl ca -config ca.cnf -gencrl -crldays $days -keyfile ca.key -cert ca.crt -out ca.crl
rm ./*.csr ca.key ca-v1.key ca.cnf index.txt* crlnumber*
