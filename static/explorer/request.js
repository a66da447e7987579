/** Changes to a request before it is sent. */

const HEADER = 'x-channelstream-secret';

/** The error in a body with a JSON content type, or null. */
function jsonErrorIn({ body, headers = {} }) {
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

/** Keeps slashes in the parameter of `/static/`, which is the path of a file. */
function withSlashes(address, base) {
    const files = `${base}/static/`;
    return address.startsWith(files) ? files + address.slice(files.length).replaceAll('%2F', '/') : address;
}

/**
 * Signs a request. Without a secret, the request uses the sign-in, and commands carry its CSRF token.
 *
 * @param {object} request the request of Swagger UI
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
    const error = jsonErrorIn(request);
    if (error) {
        // The request is not sent, so that the reader can distinguish a typing error from a refusal of the server.
        error.name = '';
        request.userFetch = () => Promise.reject(error);
    }
    return request;
}
