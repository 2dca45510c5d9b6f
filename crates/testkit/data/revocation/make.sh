#!/bin/sh
# Makes lists of revoked certificates and OCSP responses of the authorities in `oracle/certs`, with OpenSSL 3.0. The certificate that is asked
# about is `one`; `web` is another one, which demands a response (must-staple), with an intermediate authority between. The lists count from 2026
# to 2046, the responses for as long. The keys guard nothing.
set -eu
cd "$(dirname "$0")"
certs=../../../../oracle/certs
begin=260101000000Z end=20460101000000Z
cat >ca.cnf <<'CNF'
[ca]
default_ca=it
[it]
database=index.txt
crlnumber=crlnumber
default_md=sha256
[authority]
basicConstraints=critical,CA:TRUE
keyUsage=critical,keyCertSign,cRLSign
[responder]
basicConstraints=critical,CA:FALSE
extendedKeyUsage=OCSPSigning
[server]
basicConstraints=critical,CA:FALSE
subjectAltName=DNS:a.example.com
tlsfeature=status_request
CNF
list() { # file, authority, begin, end
  echo 01 >crlnumber
  openssl ca -config ca.cnf -gencrl -crl_lastupdate "$3" -crl_nextupdate "$4" -keyfile "$certs/$2.key" -cert "$certs/$2.crt" -out "$1"
}
: >index.txt
list none.crl ca $begin $end
list expired.crl ca $begin 260201000000Z
list early.crl ca 20450101000000Z $end
list other.crl otherca $begin $end
openssl ca -config ca.cnf -revoke $certs/client.crt -keyfile $certs/ca.key -cert $certs/ca.crt
list client.crl ca $begin $end
: >index.txt
openssl ca -config ca.cnf -revoke $certs/back0.crt -keyfile $certs/ca.key -cert $certs/ca.crt
list back0.crl ca $begin $end

# Certificates: an intermediate authority, a server of it, a responder of `ca`, one without the right to sign responses.
sign() { # name, extensions, authority (path without suffix), serial number
  openssl req -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -subj "/CN=$1" -keyout "$1.key" -out "$1.csr"
  openssl x509 -req -sha256 -days 7000 -CA "$3.crt" -CAkey "$3.key" -set_serial "$4" -extfile ca.cnf -extensions "$2" -in "$1.csr" -out "$1.crt"
}
sign between authority $certs/ca 100
sign web server between 101
sign responder responder $certs/ca 102
sign stranger server $certs/ca 103

# Responses. The index says what the responder knows of a serial number.
serial() { openssl x509 -noout -serial -in "$1" | sed 's/.*=//'; }
answer() { # file, asked about, its issuer, responder, line of the index before the serial number, options
  printf '%s\t%s\tunknown\t/CN=it\n' "$5" "$(serial "$2")" >index.txt
  openssl ocsp -index index.txt -CA "$3.crt" -rsigner "$4.crt" -rkey "$4.key" -issuer "$3.crt" -cert "$2" $6 -respout "$1"
}
good="V	${end}	"
answer good.ocsp $certs/one.crt $certs/ca $certs/ca "$good" '-ndays 7000'
answer delegated.ocsp $certs/one.crt $certs/ca responder "$good" '-ndays 7000'
answer not-delegated.ocsp $certs/one.crt $certs/ca stranger "$good" '-ndays 7000'
answer other.ocsp $certs/rsa.crt $certs/ca $certs/ca "$good" '-ndays 7000'
answer revoked.ocsp $certs/one.crt $certs/ca $certs/ca "R	${end}	260201000000Z" '-ndays 7000'
answer web.ocsp web.crt between between "$good" '-ndays 7000'
answer expired.ocsp $certs/one.crt $certs/ca $certs/ca "$good" '-nmin 1'
answer endless.ocsp $certs/one.crt $certs/ca $certs/ca "$good" ''
# An error of a responder: tryLater.
printf '\060\003\012\001\003' >error.ocsp
rm -f ./*.csr ca.cnf index.txt* crlnumber* between.key responder.* stranger.*
