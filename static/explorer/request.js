/** What becomes of a request before it is sent. */

const HEADER = 'x-channelstream-secret';

/** What is wrong with a body that says it is JSON. */
function slipIn({ body, headers = {} }) {
    const type = Object.entries(headers).find(([name]) => name.toLowerCase() === 'content-type')?.[1] ?? '';
    if (typeof body !== 'string' || !body.trim() || !type.includes('json')) {
        return null;
    }
    try {
        JSON.parse(body);
        return null;
    } catch (error) {
        return new Error(`The body is not JSON: ${error.message}`);
    }
}

/** A path's parameter may hold slashes, where it stands for the path of a file. */
function withSlashes(address, base) {
    const files = `${base}/static/`;
    return address.startsWith(files) ? files + address.slice(files.length).replaceAll('%2F', '/') : address;
}

/**
 * Signs a request; without a secret it goes out with the sign-in, and commands with the token of it.
 *
 * @param {object} request Swagger UI's
 * @param {{sign: function(): ?string, token: string, base: string}} sender
 * @returns {object} the request
 */
export function prepared(request, { sign, token, base }) {
    const signature = sign();
    if (signature) {
        request.headers[HEADER] = signature;
    } else if (token && request.method !== 'GET' && request.url.startsWith(`${base}/admin/`)) {
        request.headers['x-csrf-token'] = token;
    }
    request.url = withSlashes(request.url, base);
    const slip = slipIn(request);
    if (slip) {
        // Not sent: a slip of the pen is told from a refusal of the server.
        slip.name = '';
        request.userFetch = () => Promise.reject(slip);
    }
    return request;
}
