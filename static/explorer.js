/** The API explorer: lists what the Swagger 2.0 document describes and performs it. */
import { byId, make } from './dom.js';
import { exampleBody, fieldsOf } from './explorer-example.js';
import { call } from './explorer-call.js';

const VERBS = ['get', 'post', 'put', 'patch', 'delete'];

function operationsOf(document) {
    return Object.entries(document.paths).flatMap(([path, item]) => VERBS
        .filter((verb) => item[verb])
        .map((verb) => {
            const parameters = [...(item.parameters ?? []), ...(item[verb].parameters ?? [])];
            return { ...item[verb], path, verb: verb.toUpperCase(), parameters };
        }));
}

function fieldFor({ name, required, description }, id) {
    const field = make('input', { id, name, autocomplete: 'off', spellcheck: 'false' });
    const label = make('label', { for: id }, `${name}${required ? ' (required)' : ''}`);
    return make('div', {}, label, field, description ? make('span', { class: 'quiet' }, description) : '');
}

function bodyField(text, id) {
    const area = make('textarea', { id, class: 'code', spellcheck: 'false' });
    area.value = text;
    area.rows = Math.min(16, text.split('\n').length + 1);
    return make('div', {}, make('label', { for: id }, 'Body (JSON)'), area);
}

function fieldList(schema, definitions) {
    const items = fieldsOf(schema, definitions).map(({ name, type, required, description }) => make('li', {},
        make('code', {}, name), ` ${type}${required ? ', required' : ''}${description ? `: ${description}` : ''}`));
    return items.length ? make('details', {}, make('summary', {}, 'Fields'), make('ul', {}, ...items)) : '';
}

function answerView({ status, statusText, tookMs, signed, headers, body }) {
    const ok = status >= 200 && status < 300;
    const signature = signed ? 'signed' : 'not signed';
    return [
        make('p', { class: 'status', 'data-ok': String(ok) }, `${status} ${statusText}`.trim()),
        make('p', { class: 'quiet' }, `after ${Math.round(tookMs)} ms, ${signature}`),
        make('h2', {}, 'Reply'),
        make('pre', { class: 'reply', tabindex: 0 }, body),
        make('h2', {}, 'Headers'),
        make('pre', { class: 'headers', tabindex: 0 }, headers),
    ];
}

function failureView(error) {
    return [make('p', { class: 'status', 'data-ok': 'false' }, error.message)];
}

/** The form of one operation, made when it is opened for the first time. */
function formFor(operation, definitions, options, id) {
    const queries = operation.parameters.filter((parameter) => parameter.in === 'query');
    const body = operation.parameters.find((parameter) => parameter.in === 'body');
    const fields = queries.map((parameter, index) => fieldFor(parameter, `${id}-${index}`));
    if (body) {
        const starter = exampleBody(`${operation.verb} ${operation.path}`, body.schema, definitions);
        fields.push(bodyField(JSON.stringify(starter, null, 2), `${id}-body`));
        fields.push(fieldList(body.schema, definitions));
    }
    const button = make('button', {}, 'Send');
    const answer = make('div', { class: 'answer', 'aria-live': 'polite', hidden: true });
    const form = make('form', { onsubmit: submit }, ...fields, button);

    async function submit(event) {
        event.preventDefault();
        button.disabled = true;
        try {
            const values = queries.map(({ name }) => [name, form.elements[name].value]);
            const text = body ? byId(`${id}-body`).value : null;
            answer.replaceChildren(...answerView(await call({ ...options, operation, values, text })));
        } catch (error) {
            answer.replaceChildren(...failureView(error));
        }
        answer.hidden = false;
        button.disabled = false;
    }

    const description = operation.description ? make('p', { class: 'quiet' }, operation.description) : '';
    return make('div', {}, description, form, answer);
}

function operationView(operation, definitions, options, index) {
    const { verb, path, summary } = operation;
    const details = make('details', { class: 'operation', 'data-operation': `${verb} ${path}` },
        make('summary', {}, make('span', { class: 'verb' }, verb), make('code', {}, path),
            make('span', { class: 'quiet' }, summary ?? '')));
    details.addEventListener('toggle', () => {
        if (details.open && details.children.length === 1) {
            details.append(formFor(operation, definitions, options, `operation-${index}`));
        }
    });
    return details;
}

/**
 * @param {object} settings
 * @param {string} settings.documentUrl the Swagger 2.0 document
 * @param {function(string): {signRequest: function(): string}} settings.signerFor makes a signer from a secret
 */
export async function startExplorer({ documentUrl, signerFor }) {
    const list = byId('operations');
    byId('key').addEventListener('submit', (event) => event.preventDefault());
    try {
        const reply = await fetch(documentUrl);
        if (!reply.ok) {
            throw new Error(`The server answered ${reply.status}.`);
        }
        const document = await reply.json();
        const options = {
            base: documentUrl.replace(/\/[^/]*$/, ''),
            signer: () => (byId('secret').value ? signerFor(byId('secret').value) : null),
        };
        const views = operationsOf(document)
            .map((operation, index) => operationView(operation, document.definitions ?? {}, options, index));
        list.replaceChildren(...views);
    } catch (error) {
        list.replaceChildren();
        byId('problem').textContent = `The description of the API could not be read. ${error.message}`;
    }
    list.setAttribute('aria-busy', 'false');
}
