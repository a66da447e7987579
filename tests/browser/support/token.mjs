/** Connection tokens of an application. */
import { createHmac } from 'node:crypto';

import { SECRET } from './server.mjs';

const encoded = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

/** A token for `ada` that expires in `seconds` from now. */
export function signedToken({ channels, seconds = 3600 }) {
    const now = Math.floor(Date.now() / 1000);
    const claims = { sub: 'ada', iat: now, exp: now + seconds, channels };
    const text = `${encoded({ alg: 'HS256', typ: 'JWT' })}.${encoded(claims)}`;
    return `${text}.${createHmac('sha256', SECRET).update(text).digest('base64url')}`;
}
