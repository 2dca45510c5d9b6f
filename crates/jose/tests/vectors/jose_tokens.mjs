// Tokens of the npm package `jose`, one for each algorithm, with a key set of their own.
//
// usage: node jose_tokens.mjs > jose.json    (needs: npm install jose)

import { readFileSync } from "node:fs";
import { SignJWT, exportJWK, generateKeyPair } from "jose";

const claims = { name: "Alice Müller 🔑", nested: { roles: ["a", "b"], number: 1.5, none: null } };
const algorithms = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];
const [keys, tokens] = [[], []];
for (const alg of algorithms) {
  const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
  keys.push({ ...(await exportJWK(publicKey)), kid: `key of ${alg}`, alg, use: "sig", key_ops: ["verify"] });
  const token = await new SignJWT(claims)
    .setProtectedHeader({ alg, kid: `key of ${alg}`, typ: "at+jwt" })
    .setIssuer("https://issuer.test")
    .setSubject("alice")
    .setAudience("shop")
    .setJti("1b9d")
    .setIssuedAt(1_700_000_000)
    .setNotBefore(1_700_000_000)
    .setExpirationTime(4_102_444_800)
    .sign(privateKey);
  tokens.push({ alg, token });
}
const { version } = JSON.parse(readFileSync(new URL("./node_modules/jose/package.json", import.meta.url)));
console.log(JSON.stringify({ library: `jose ${version}`, jwks: { keys }, tokens }, null, 1));
