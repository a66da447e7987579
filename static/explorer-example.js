/** Deep enough for every body of the API, and an end for schemas that contain themselves. */
const MAX_DEPTH = 8;

const BY_TYPE = { string: 'string', integer: 0, number: 0, boolean: false };

const BY_FORMAT = {
    uuid: () => crypto.randomUUID?.() ?? '00000000-0000-4000-8000-000000000000',
    'date-time': () => new Date().toISOString(),
};

const isEmptyList = (value) => Array.isArray(value) && value.length === 0;

function resolved(schema, definitions) {
    const name = schema?.$ref?.replace('#/definitions/', '');
    return name ? definitions[name] ?? {} : schema ?? {};
}

function objectExample(schema, definitions, depth) {
    const entries = Object.entries(schema.properties ?? {})
        .map(([name, property]) => [name, example(property, definitions, depth + 1)])
        // An empty list is not the same as none: for /info it would mean "no channel at all".
        .filter(([name, value]) => !isEmptyList(value) || schema.required?.includes(name));
    return Object.fromEntries(entries);
}

function merged(parts, definitions, depth) {
    return Object.assign({}, ...parts.map((part) => example(part, definitions, depth + 1)));
}

function example(reference, definitions, depth) {
    const schema = resolved(reference, definitions);
    const given = schema.example ?? schema.default ?? schema.enum?.[0];
    if (given !== undefined || depth > MAX_DEPTH) {
        return given ?? null;
    }
    if (schema.allOf) {
        return merged(schema.allOf, definitions, depth);
    }
    if (schema.type === 'array') {
        // Lists that may be left empty are: an invented member would name users or channels that do not exist.
        return depth === 0 || schema.minItems > 0 ? [example(schema.items, definitions, depth + 1)] : [];
    }
    if (schema.properties || schema.type === 'object') {
        return objectExample(schema, definitions, depth);
    }
    return BY_FORMAT[schema.format]?.() ?? BY_TYPE[schema.type] ?? null;
}

/** Bodies that show something when they are sent one after the other as they are; types alone say too little. */
const STARTERS = {
    'POST /connect': {
        username: 'alice',
        channels: ['/tutorial'],
        user_state: { color: 'teal' },
        state_public_keys: ['color'],
        channel_configs: { '/tutorial': { notify_presence: true, store_history: true, history_size: 20 } },
    },
    'POST /user_state': { user: 'alice', user_state: { color: 'orange' } },
    'POST /message': [{ user: 'system', channel: '/tutorial', message: { text: 'Hello, everyone' } }],
    'POST /channel_config': { '/tutorial': { notify_presence: true, store_history: true, history_size: 50 } },
    'POST /info': { info: { include_history: true, include_users: true } },
};

/**
 * A body to start from: the document's own example, else one from the table above, else one made from the types.
 *
 * @param {string} operation verb and path
 * @param {object} schema of the body parameter
 * @param {object} definitions of the document
 * @returns {*}
 */
export function exampleBody(operation, schema, definitions) {
    return resolved(schema, definitions).example ?? STARTERS[operation] ?? example(schema, definitions, 0);
}

/**
 * The fields of a body, or of the members of a list.
 *
 * @returns {{name: string, type: string, required: boolean, description: string}[]}
 */
export function fieldsOf(schema, definitions) {
    const body = resolved(schema, definitions);
    const object = body.type === 'array' ? resolved(body.items, definitions) : body;
    return Object.entries(object.properties ?? {}).map(([name, reference]) => {
        const { type = 'object', format, description = '' } = resolved(reference, definitions);
        const required = object.required?.includes(name) ?? false;
        return { name, type: format ? `${type}, ${format}` : type, required, description };
    });
}
