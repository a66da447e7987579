/**
 * SHA-1 and HMAC-SHA1 over bytes, synchronous.
 *
 * Browsers offer `crypto.subtle`, but only asynchronously and not on plain http outside localhost, while
 * `ChannelStreamSigner.signRequest()` has always returned a string at once, on any page. A second path through
 * WebCrypto would give the same twenty bytes and twice the code to trust.
 */

const BLOCK_BYTES = 64;

const rotateLeft = (word, bits) => (word << bits) | (word >>> (32 - bits));

/** The message, a one bit, zeros, and the length in bits as 64 bits: FIPS 180-4, section 5.1.1. */
function pad(bytes) {
    const blocks = Math.ceil((bytes.length + 9) / BLOCK_BYTES);
    const padded = new Uint8Array(blocks * BLOCK_BYTES);
    padded.set(bytes);
    padded[bytes.length] = 0x80;
    const view = new DataView(padded.buffer);
    view.setUint32(padded.length - 8, Math.floor(bytes.length / 0x20000000));
    view.setUint32(padded.length - 4, (bytes.length << 3) >>> 0);
    return view;
}

function round(step, b, c, d) {
    if (step < 20) {
        return ((b & c) | (~b & d)) + 0x5a827999;
    }
    if (step < 40) {
        return (b ^ c ^ d) + 0x6ed9eba1;
    }
    if (step < 60) {
        return ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc;
    }
    return (b ^ c ^ d) + 0xca62c1d6;
}

function compress(state, words) {
    let [a, b, c, d, e] = state;
    for (let step = 0; step < 80; step += 1) {
        if (step >= 16) {
            words[step] = rotateLeft(words[step - 3] ^ words[step - 8] ^ words[step - 14] ^ words[step - 16], 1);
        }
        const next = (rotateLeft(a, 5) + round(step, b, c, d) + e + words[step]) | 0;
        [e, d, c, b, a] = [d, c, rotateLeft(b, 30), a, next];
    }
    [a, b, c, d, e].forEach((word, index) => {
        state[index] = (state[index] + word) | 0;
    });
}

/**
 * @param {Uint8Array} bytes
 * @returns {Uint8Array} 20 bytes
 */
export function sha1(bytes) {
    const state = Int32Array.of(0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0);
    const words = new Int32Array(80);
    const view = pad(bytes);
    for (let start = 0; start < view.byteLength; start += BLOCK_BYTES) {
        for (let index = 0; index < 16; index += 1) {
            words[index] = view.getInt32(start + index * 4);
        }
        compress(state, words);
    }
    const digest = new DataView(new ArrayBuffer(20));
    state.forEach((word, index) => digest.setInt32(index * 4, word));
    return new Uint8Array(digest.buffer);
}

function concat(first, second) {
    const joined = new Uint8Array(first.length + second.length);
    joined.set(first);
    joined.set(second, first.length);
    return joined;
}

/**
 * @param {Uint8Array} key
 * @param {Uint8Array} bytes
 * @returns {Uint8Array} 20 bytes, as RFC 2104 has it
 */
export function hmacSha1(key, bytes) {
    const block = new Uint8Array(BLOCK_BYTES);
    block.set(key.length > BLOCK_BYTES ? sha1(key) : key);
    const inner = sha1(concat(block.map((byte) => byte ^ 0x36), bytes));
    return sha1(concat(block.map((byte) => byte ^ 0x5c), inner));
}
