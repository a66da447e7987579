// The build copies this code into the files that pages load. tests/browser/package.json pins the version.
// WebCrypto (`crypto.subtle`) cannot replace it: browsers offer WebCrypto only on https and localhost, and only
// asynchronously, while signRequest() returns a string on every page.
import { hmac } from '../../../tests/browser/node_modules/@noble/hashes/hmac.js';
import { sha1 } from '../../../tests/browser/node_modules/@noble/hashes/legacy.js';

/** Defined by itsdangerous: its default salt, followed by the text that it inserts before the secret. */
const KEY_PREFIX = 'itsdangerous.Signer' + 'signer';

const utf8 = (text) => new TextEncoder().encode(text);

/** Encodes without padding and replaces each `+` and `/`, so that the token is also safe in a query string. */
function base64url(bytes) {
    const base64 = btoa(String.fromCharCode(...bytes));
    return base64.replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}

/** Encodes big-endian without leading zero bytes. Divides, because bit operators would overflow in 2038. */
function bigEndian(seconds) {
    const bytes = [];
    for (let rest = seconds; rest > 0; rest = Math.floor(rest / 256)) {
        bytes.unshift(rest % 256);
    }
    return bytes;
}

/**
 * Makes the value of the header `x-channelstream-secret`, like `TimestampSigner` of itsdangerous.
 *
 * The secret gives access to everything that the application may do. Use this class on pages for the server's operator
 * (such as the API explorer), never on pages for users.
 */
export class ChannelStreamSigner {
    /** @param {string} secret the server's `secret` */
    constructor(secret) {
        this.secret = secret;
    }

    /**
     * Makes a token for one request. It is valid for 60 seconds.
     *
     * @returns {string}
     */
    signRequest() {
        return this.sign('channelstream');
    }

    /**
     * Makes a token for any value and time. The server does not compare the value with the address of the request.
     *
     * @param {string} value
     * @param {number} [seconds] Unix time in whole seconds, by default the current time
     * @returns {string} `value.timestamp.mac`
     */
    sign(value, seconds = Math.floor(Date.now() / 1000)) {
        const signed = `${value}.${base64url(bigEndian(seconds))}`;
        const key = sha1(utf8(KEY_PREFIX + this.secret));
        return `${signed}.${base64url(hmac(sha1, key, utf8(signed)))}`;
    }
}
