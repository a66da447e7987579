"""Makes tokens.json: connection tokens of PyJWT and of jose (make.mjs), and attacks on their verification.

    pip install 'pyjwt[crypto]' && npm install jose && python tests/data/tokens/make.py > tests/data/tokens.json

The keys are new in each run. The tests read only tokens.json.
"""

import base64
import hashlib
import hmac
import json
import subprocess
import sys
from pathlib import Path

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

NOW = 1_700_000_000
SECRETS = ["a new secret of more than 32 bytes, äöü", "an old secret of more than 32 bytes"]
CLAIMS = {"sub": "ann", "exp": NOW + 3600}

KEYS = {
    "RS256": rsa.generate_private_key(65537, 2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}
FOREIGN = {
    "RS256": rsa.generate_private_key(65537, 2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}
ALGORITHMS = {
    "RS256": jwt.algorithms.RSAAlgorithm,
    "ES256": jwt.algorithms.ECAlgorithm,
    "EdDSA": jwt.algorithms.OKPAlgorithm,
}


def pem(key):
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, spki).decode()


def private_pem(key):
    pkcs8 = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, pkcs8, serialization.NoEncryption()).decode()


def jwk(name, key, kid):
    return {**json.loads(ALGORITHMS[name].to_jwk(key.public_key())), "kid": kid, "alg": name, "use": "sig"}


def b64(data):
    data = data if isinstance(data, bytes) else data.encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def by_hand(header, claims, secret=SECRETS[0], digest=hashlib.sha256):
    """A token signed with a secret, of any header and claims; texts are used as they are."""
    parts = [b64(part if isinstance(part, str) else json.dumps(part)) for part in (header, claims)]
    key = secret if isinstance(secret, bytes) else secret.encode()
    return ".".join([*parts, b64(hmac.new(key, ".".join(parts).encode(), digest).digest())])


tokens = []


def add(name, token, fault=None, made_by="PyJWT", keys="jwks"):
    tokens.append({"name": name, "made_by": made_by, "keys": keys, "token": token, "fault": fault})


def hs256(name, fault=None, **claims):
    add(name, jwt.encode({**CLAIMS, **claims}, SECRETS[0], "HS256"), fault)


HS = {"alg": "HS256", "typ": "JWT"}

# What other libraries make.
hs256("HS256")
add("HS256 with the second secret", jwt.encode(CLAIMS, SECRETS[1], "HS256"))
for name, key in KEYS.items():
    add(f"{name} with a kid", jwt.encode(CLAIMS, key, name, headers={"kid": f"{name}-1"}))
    add(f"{name} without a kid, two keys", jwt.encode(CLAIMS, key, name), "key")
    add(f"{name} without a kid, one key", jwt.encode(CLAIMS, key, name), keys=name)
    add(f"{name} with a kid, a key without one", jwt.encode(CLAIMS, key, name, headers={"kid": "x"}), keys=name)
hs256("times with fractions", exp=NOW + 60.5, iat=NOW - 0.25, nbf=NOW - 1.5)
hs256("all claims", iat=NOW, nbf=NOW, jti="7", aud="channelstream", iss="https://app.example", channels=["news"],
      state={"color": "red"}, fresh_state={"size": 1}, public_keys=["color"],
      conn_id="11111111-1111-4111-8111-111111111111")
hs256("an audience in a list", aud=["other", "channelstream"])
hs256("expired within the leeway", exp=NOW - 4)
made = {"now": NOW, "claims": CLAIMS, "secret": SECRETS[0],
        "keys": {name: private_pem(key) for name, key in KEYS.items()}}
script = Path(__file__).with_name("make.mjs")
for item in json.loads(subprocess.check_output(["node", script], input=json.dumps(made).encode())):
    add(item["name"], item["token"], made_by="jose")

# Times, audiences, issuers.
hs256("expired", "expired", exp=NOW - 12)
hs256("no exp", "claims", exp=None)
hs256("exp as text", "claims", exp=str(NOW + 60))
hs256("exp negative", "claims", exp=-1)
hs256("nbf in the future", "not-yet-valid", nbf=NOW + 30)
hs256("iat in the future", "not-yet-valid", iat=NOW + 30)
hs256("another audience", "audience", aud="other")
hs256("other audiences", "audience", aud=["other", "channelstream2"])
hs256("an audience that is no text", "audience", aud=7)
hs256("an audience of an empty list", "audience", aud=[])
add("the issuer", jwt.encode({**CLAIMS, "iss": "https://app.example"}, SECRETS[0], "HS256"), keys="issuer")
add("another issuer", jwt.encode({**CLAIMS, "iss": "https://evil"}, SECRETS[0], "HS256"), "issuer", keys="issuer")
add("no issuer", jwt.encode(CLAIMS, SECRETS[0], "HS256"), "issuer", keys="issuer")

# Algorithm confusion.
for word in ["none", "None", "NONE", "nOnE", ""]:
    unsigned = f'{b64(json.dumps({"alg": word}))}.{b64(json.dumps(CLAIMS))}.'
    add(f"alg {word!r}, no signature", unsigned, "algorithm", "hand")
add("alg none with a signature", by_hand({"alg": "none"}, CLAIMS), "algorithm", "hand")
add("HS512 with the secret", by_hand({"alg": "HS512"}, CLAIMS, digest=hashlib.sha512), "algorithm", "hand")
add("alg hs256", by_hand({"alg": "hs256"}, CLAIMS), "algorithm", "hand")
add("no alg", by_hand({"typ": "JWT"}, CLAIMS), "malformed", "hand")
add("alg as a list", by_hand({"alg": ["HS256"]}, CLAIMS), "malformed", "hand")
for name, key in KEYS.items():
    der = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    for what, secret in [("PEM", pem(key)), ("trimmed PEM", pem(key).strip()), ("DER", der),
                         ("JWK", json.dumps(jwk(name, key, f"{name}-1")))]:
        for keys in ["jwks", name]:
            header = {"alg": "HS256", "kid": f"{name}-1"}
            add(f"HS256 signed with the public key of {name} ({what}, {keys})", by_hand(header, CLAIMS, secret),
                "signature" if keys == "jwks" else "algorithm", "hand", keys)
add("HS256 with an empty secret", by_hand(HS, CLAIMS, b""), "signature", "hand")
add("PS256 with the key of RS256", jwt.encode(CLAIMS, KEYS["RS256"], "PS256", headers={"kid": "RS256-1"}), "algorithm")
add("ES256 named with the key of RS256", jwt.encode(CLAIMS, KEYS["ES256"], "ES256", headers={"kid": "RS256-1"}), "key")

# Keys of the attacker.
for name, key in FOREIGN.items():
    add(f"{name} of a foreign key with a known kid", jwt.encode(CLAIMS, key, name, headers={"kid": f"{name}-1"}),
        "signature")
    add(f"{name} with a foreign kid", jwt.encode(CLAIMS, key, name, headers={"kid": "foreign"}), "key")
    add(f"{name} with its own key in the header",
        jwt.encode(CLAIMS, key, name, headers={"kid": f"{name}-1", "jwk": jwk(name, key, f"{name}-1")}), "signature")
    add(f"{name} with an address of its keys",
        jwt.encode(CLAIMS, key, name, headers={"jku": "http://127.0.0.1:1/", "x5u": "http://127.0.0.1:1/"}),
        "signature", keys=name)
add("HS256 with another secret", jwt.encode(CLAIMS, "another secret of more than 32 bytes", "HS256"), "signature")
add("a kid that is a path", by_hand({"alg": "RS256", "kid": "../../dev/null"}, CLAIMS, b""), "key", "hand")
add("a kid that is no text", by_hand({"alg": "HS256", "kid": 7}, CLAIMS), "malformed", "hand")

# Changed tokens.
good = jwt.encode(CLAIMS, SECRETS[0], "HS256")
header, claims, signature = good.split(".")
other = b64(json.dumps({**CLAIMS, "sub": "admin"}))
add("changed claims", f"{header}.{other}.{signature}", "signature", "hand")
add("changed header", f'{b64(json.dumps({"alg": "HS256"}))}.{claims}.{signature}', "signature", "hand")
add("no signature", f"{header}.{claims}.", "signature", "hand")
add("a shorter signature", f"{header}.{claims}.{signature[:-4]}", "signature", "hand")
add("a signature with other unused bits", f"{header}.{claims}.{signature[:-1]}{chr(ord(signature[-1]) + 1)}",
    "malformed", "hand")
add("padding", f"{header}.{claims}.{signature}=", "malformed", "hand")
add("a newline", good + "\n", "malformed", "hand")
add("a blank", " " + good, "malformed", "hand")
add("four parts", good + ".x", "malformed", "hand")
add("five parts, as of an encrypted token", "a.b.c.d.e", "malformed", "hand")
add("two parts", f"{header}.{claims}", "malformed", "hand")
add("nothing", "", "malformed", "hand")
add("dots", "..", "malformed", "hand")
es256 = jwt.encode(CLAIMS, KEYS["ES256"], "ES256", headers={"kid": "ES256-1"})
message, raw = es256.rsplit(".", 1)
add("ES256 with a signature of zeros", f"{message}.{b64(bytes(64))}", "signature", "hand")
der = KEYS["ES256"].sign(message.encode(), ec.ECDSA(jwt.algorithms.hashes.SHA256()))
assert decode_dss_signature(der)
add("ES256 with a signature in DER", f"{message}.{b64(der)}", "signature", "hand")

# Signed with a key of the server, but not what the standards require.
add("a claim twice", by_hand(HS, f'{{"sub": "ann", "sub": "admin", "exp": {NOW + 60}}}'), "malformed", "hand")
add("exp twice", by_hand(HS, f'{{"sub": "ann", "exp": {NOW - 60}, "exp": {NOW + 60}}}'), "malformed", "hand")
add("channels twice, once escaped",
    by_hand(HS, f'{{"sub": "ann", "exp": {NOW + 60}, "channels": [], "\\u0063hannels": ["x"]}}'), "malformed", "hand")
add("alg twice", by_hand('{"alg": "none", "alg": "HS256"}', CLAIMS), "malformed", "hand")
add("an unknown critical extension", by_hand({**HS, "crit": ["x"], "x": 1}, CLAIMS), "malformed", "hand")
add("claims that are not encoded", by_hand({**HS, "crit": ["b64"], "b64": False}, CLAIMS), "malformed", "hand")
add("claims in a list", by_hand(HS, [CLAIMS]), "malformed", "hand")
add("claims that are no JSON", by_hand(HS, "sub=ann"), "malformed", "hand")
add("a header that is no object", by_hand("7", CLAIMS), "malformed", "hand")
add("claims of deep lists", by_hand(HS, '{"exp": 1, "x": ' + "[" * 2000 + "]" * 2000 + "}"), "expired", "hand")
add("too long", jwt.encode({**CLAIMS, "x": "x" * 8000}, SECRETS[0], "HS256"), "too-long")

keys = {"keys": [jwk(name, key, f"{name}-1") for name, key in KEYS.items()]
        + [jwk(name, key, f"{name}-2") for name, key in FOREIGN.items()]}
json.dump({"now": NOW, "secrets": SECRETS, "jwks": keys, "pem": {name: pem(key) for name, key in KEYS.items()},
           "tokens": tokens}, sys.stdout, indent=1)
print()
