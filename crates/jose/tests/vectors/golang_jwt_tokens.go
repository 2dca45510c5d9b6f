// Tokens of golang-jwt, one for each algorithm, with a key set of their own that is written without names.
//
// usage: go run golang_jwt_tokens.go > golang_jwt.json    (needs: go get github.com/golang-jwt/jwt/v5)
package main

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"os"
	"runtime/debug"

	"github.com/golang-jwt/jwt/v5"
)

func number(value *big.Int, length int) string {
	return base64.RawURLEncoding.EncodeToString(value.FillBytes(make([]byte, length)))
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func elliptic_jwk(key *ecdsa.PrivateKey, curve string, length int) map[string]string {
	return map[string]string{"kty": "EC", "crv": curve, "x": number(key.X, length), "y": number(key.Y, length)}
}

func main() {
	rsaKey := must(rsa.GenerateKey(rand.Reader, 3072))
	p256 := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	p384 := must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	public, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	exponent := base64.RawURLEncoding.EncodeToString(big.NewInt(int64(rsaKey.E)).Bytes())
	keys := []map[string]string{
		{"kty": "RSA", "n": number(rsaKey.N, rsaKey.Size()), "e": exponent},
		elliptic_jwk(p256, "P-256", 32),
		elliptic_jwk(p384, "P-384", 48),
		{"kty": "OKP", "crv": "Ed25519", "x": base64.RawURLEncoding.EncodeToString(public)},
	}
	type token struct {
		Alg   string `json:"alg"`
		Token string `json:"token"`
	}
	tokens := []token{}
	for _, one := range []struct {
		method jwt.SigningMethod
		key    any
	}{
		{jwt.SigningMethodRS256, rsaKey}, {jwt.SigningMethodRS384, rsaKey}, {jwt.SigningMethodRS512, rsaKey},
		{jwt.SigningMethodPS256, rsaKey}, {jwt.SigningMethodPS384, rsaKey}, {jwt.SigningMethodPS512, rsaKey},
		{jwt.SigningMethodES256, p256}, {jwt.SigningMethodES384, p384}, {jwt.SigningMethodEdDSA, ed},
	} {
		claims := jwt.MapClaims{
			"iss": "https://issuer.test", "sub": "alice", "aud": []string{"shop", "admin"},
			"iat": 1700000000, "nbf": 1700000000, "exp": 4102444800, "jti": "1b9d", "name": "Alice Müller 🔑",
			"nested": map[string]any{"roles": []string{"a", "b"}, "number": 1.5, "none": nil},
		}
		signed := must(jwt.NewWithClaims(one.method, claims).SignedString(one.key))
		tokens = append(tokens, token{one.method.Alg(), signed})
	}
	version := "golang-jwt"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, dependency := range info.Deps {
			version += " " + dependency.Version
		}
	}
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetIndent("", " ")
	if err := encoder.Encode(map[string]any{"library": version, "jwks": map[string]any{"keys": keys}, "tokens": tokens}); err != nil {
		panic(err)
	}
}
