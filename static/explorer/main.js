/** The API explorer: Swagger UI with the server's own API description. It signs requests in the browser. */
import { base, byId } from '../dom.js';
import { nameControls } from './names.js';
import { components } from './components.js';
import { prepared } from './request.js';
import { startListening } from './socket.js';

/** Loads the first available document. */
async function documentOf(addresses) {
    let problem;
    for (const address of addresses) {
        try {
            const reply = await fetch(address);
            if (reply.ok) {
                return await reply.json();
            }
            problem ??= `The server answered ${reply.status}.`;
        } catch (error) {
            problem ??= error.message;
        }
    }
    throw new Error(problem);
}

/** Whether an operation matches a search: its method, path, tag or description must contain every word. */
function matches(operation, tag, words) {
    const details = operation.get('operation');
    const method = operation.get('method');
    const texts = [method, operation.get('path'), tag, details.get('summary'), details.get('description')];
    const text = texts.join(' ').toLowerCase();
    return words.every((word) => text.includes(word));
}

/** Replaces the filter of Swagger UI, which searches only tags and paths. */
function opsFilter(tags, phrase) {
    const words = phrase.toLowerCase().split(/\s+/).filter(Boolean);
    return tags
        .map((group, tag) => group.update('operations', (all) => all.filter((one) => matches(one, tag, words))))
        .filter((group) => group.get('operations').size > 0);
}

function openUi(document, secret, signerFor) {
    const token = globalThis.document.querySelector('meta[name="csrf-token"]').content;
    // Kept while the secret is the same.
    let signer = { secret: '', of: null };
    const sign = () => {
        if (secret.value !== signer.secret) {
            signer = { secret: secret.value, of: secret.value && signerFor(secret.value) };
        }
        return signer.of ? signer.of.signRequest() : null;
    };
    return globalThis.SwaggerUIBundle({
        spec: document,
        domNode: byId('operations'),
        layout: 'ExplorerLayout',
        plugins: [components, () => ({ fn: { opsFilter } })],
        requestInterceptor: (request) => prepared(request, { sign, token, base }),
        deepLinking: true,
        displayRequestDuration: true,
        docExpansion: 'list',
        filter: true,
        tryItOutEnabled: true,
        defaultModelsExpandDepth: 0,
        // Swagger UI would use its own colours, in style attributes.
        syntaxHighlight: false,
        // Disables validation of the document by an external service.
        validatorUrl: null,
    });
}

/**
 * @param {object} settings
 * @param {string[]} settings.documents addresses of the API description, the preferred one first
 * @param {function(string): {signRequest: function(): string}} settings.signerFor makes a signer from a secret
 */
export async function startExplorer({ documents, signerFor }) {
    const place = byId('operations');
    byId('key').addEventListener('submit', (event) => event.preventDefault());
    startListening(byId('listen'), base);
    try {
        const ui = openUi(await documentOf(documents), byId('secret'), signerFor);
        byId('find').addEventListener('input', ({ target }) => ui.layoutActions.updateFilter(target.value.trim() || true));
        nameControls(place);
    } catch (error) {
        place.replaceChildren();
        byId('problem').textContent = `The description of the API could not be read. ${error.message}`;
    }
    place.setAttribute('aria-busy', 'false');
}
