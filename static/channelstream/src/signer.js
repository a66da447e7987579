// The build copies the code of @noble/hashes into the files that pages load; tests/browser/package.json pins the version.
// WebCrypto (`crypto.subtle`) cannot replace it: browsers offer WebCrypto only on https and localhost, and only
// asynchronously, while signRequest() returns a string on every page.
import { hmac } from '../../../tests/browser/node_modules/@noble/hashes/hmac.js';
import { sha1 } from '../../../tests/browser/node_modules/@noble/hashes/legacy.js';

/** Fixed by itsdangerous: its default salt, and the word it puts between salt and secret. */
const KEY_PREFIX = 'itsdangerous.Signer' + 'signer';

const utf8 = (text) => new TextEncoder().encode(text);

/** Without padding; every `+` and `/` is replaced, so that the token is also safe in a query string. */
function base64url(bytes) {
    const base64 = btoa(String.fromCharCode(...bytes));
    return base64.replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}

/** Big-endian without leading zero bytes. Division and not shifts: bit operators would end in 2038. */
function bigEndian(seconds) {
    const bytes = [];
    for (let rest = seconds; rest > 0; rest = Math.floor(rest / 256)) {
        bytes.unshift(rest % 256);
    }
    return bytes;
}

/**
 * Makes the value of the header `x-channelstream-secret`, as itsdangerous' `TimestampSigner` does.
 *
 * Whoever knows the secret may do everything the backend may: this belongs on pages for the server's operator (such
 * as the API explorer), never on pages for users.
 */
export class ChannelStreamSigner {
    /** @param {string} secret the server's `secret` */
    constructor(secret) {
        this.secret = secret;
    }

    /**
     * A token for one request, good for 60 seconds.
     *
     * @returns {string}
     */
    signRequest() {
        return this.sign('channelstream');
    }

    /**
     * The token for any value and time. The server does not compare the value with the address of the request.
     *
     * @param {string} value
     * @param {number} [seconds] Unix time in whole seconds, by default now
     * @returns {string} `value.timestamp.mac`
     */
    sign(value, seconds = Math.floor(Date.now() / 1000)) {
        const signed = `${value}.${base64url(bigEndian(seconds))}`;
        const key = sha1(utf8(KEY_PREFIX + this.secret));
        return `${signed}.${base64url(hmac(sha1, key, utf8(signed)))}`;
    }
}
