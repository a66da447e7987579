// Tokens of jose for make.py: reads keys and claims from the standard input, writes a list of tokens.
import { readFileSync } from 'node:fs';
import { SignJWT, importPKCS8 } from 'jose';

const { now, claims, secret, keys } = JSON.parse(readFileSync(0, 'utf8'));

async function sign(header, key) {
    const token = new SignJWT({ channels: ['news'], state: { color: 'red' } }).setProtectedHeader(header);
    token.setSubject(claims.sub).setIssuedAt(now).setNotBefore(now).setExpirationTime(now + 3600);
    return token.setAudience('channelstream').setIssuer('https://app.example').sign(key);
}

const tokens = [{ name: 'HS256', token: await sign({ alg: 'HS256' }, new TextEncoder().encode(secret)) }];
for (const [alg, pem] of Object.entries(keys)) {
    const key = await importPKCS8(pem, alg);
    tokens.push({ name: `${alg} with a kid`, token: await sign({ alg, kid: `${alg}-1`, typ: 'JWT' }, key) });
}
console.log(JSON.stringify(tokens));
