const pretty = (text) => {
    try {
        return JSON.stringify(JSON.parse(text), null, 2);
    } catch {
        return text;
    }
};

/** What is typed is checked here, so that a slip of the pen is told from a refusal of the server. */
function checkedBody(text) {
    try {
        JSON.parse(text);
    } catch (error) {
        throw new Error(`The body is not JSON: ${error.message}`);
    }
    return text;
}

function addressOf(base, path, values) {
    const query = new URLSearchParams(values.filter(([, value]) => value !== ''));
    return `${base}${path}${query.size ? `?${query}` : ''}`;
}

/**
 * Performs one operation.
 *
 * @returns {Promise<object>} `status`, `statusText`, `tookMs`, `signed`, and as text `headers` and `body`
 */
export async function call({ base, signer, operation, values, text }) {
    const headers = { Accept: 'application/json' };
    const signing = signer();
    if (signing) {
        headers['x-channelstream-secret'] = signing.signRequest();
    }
    const body = text?.trim() ? checkedBody(text) : undefined;
    if (body) {
        headers['Content-Type'] = 'application/json';
    }
    const sentAt = performance.now();
    const reply = await fetch(addressOf(base, operation.path, values), { method: operation.verb, headers, body });
    const answer = await reply.text();
    return {
        status: reply.status,
        statusText: reply.statusText,
        tookMs: performance.now() - sentAt,
        signed: Boolean(signing),
        headers: [...reply.headers].map(([name, value]) => `${name}: ${value}`).join('\n'),
        body: pretty(answer),
    };
}
