"""Tokens of PyJWT, one for each algorithm, with a key set of their own.

usage: python3 pyjwt_tokens.py > pyjwt.json    (needs: pip install pyjwt[crypto])
"""

import json

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

CLAIMS = {
    "iss": "https://issuer.test",
    "sub": "alice",
    "aud": ["shop", "admin"],
    "iat": 1_700_000_000,
    "nbf": 1_700_000_000,
    "exp": 4_102_444_800,
    "jti": "1b9d",
    "name": "Alice Müller \U0001f511",
    "nested": {"roles": ["a", "b"], "number": 1.5, "none": None},
}

rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
keys = {
    "rsa": (rsa_key, RSAAlgorithm),
    "p256": (ec.generate_private_key(ec.SECP256R1()), ECAlgorithm),
    "p384": (ec.generate_private_key(ec.SECP384R1()), ECAlgorithm),
    "ed": (ed25519.Ed25519PrivateKey.generate(), OKPAlgorithm),
}
algorithms = [(f"{kind}{bits}", "rsa") for kind in ("RS", "PS") for bits in (256, 384, 512)]
algorithms += [("ES256", "p256"), ("ES384", "p384"), ("EdDSA", "ed")]


def jwk(kid):
    key, algorithm = keys[kid]
    return {**json.loads(algorithm.to_jwk(key.public_key())), "kid": kid, "use": "sig"}


print(
    json.dumps(
        {
            "library": f"PyJWT {jwt.__version__}",
            "jwks": {"keys": [jwk(kid) for kid in keys]},
            "tokens": [
                {"alg": alg, "token": jwt.encode(CLAIMS, keys[kid][0], algorithm=alg, headers={"kid": kid})}
                for alg, kid in algorithms
            ],
        },
        indent=1,
    )
)
