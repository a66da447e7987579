/**
 * Adds accessible names to controls that Swagger UI leaves without one. An observer names the controls that it
 * renders later.
 */
const nameOfRow = (control) => control.closest('tr')?.querySelector('.parameter__name')?.firstChild?.textContent?.trim();

const endpointOf = (control) => control.closest('.opblock').querySelector('.opblock-summary-control').innerText
    .split('\n').slice(0, 2).join(' ');

const NAMES = [
    ['textarea.body-param__text', () => 'Body (JSON)'],
    ['.examples-select-element', () => 'Example'],
    ['.parameters-container select, .parameters-container input', nameOfRow],
    ['.parameters-container textarea', nameOfRow],
    ['.opblock-section-request-body td input, .opblock-section-request-body td select', nameOfRow],
    ['.response-control-media-type select', () => 'Media type'],
    ['.content-type', () => 'Content type'],
    ['.responses-table[role="region"]', (table) => `Responses of ${endpointOf(table)}`],
    ['button.json-schema-2020-12-accordion', (button) => (button.textContent.trim() ? null : 'Fields')],
];

/** Long texts scroll. The keyboard must be able to focus them. */
const SCROLLING = 'pre.microlight, .model-box, .table-container';

function nameWithin(root) {
    for (const [selector, nameOf] of NAMES) {
        for (const control of root.querySelectorAll(selector)) {
            const name = control.hasAttribute('aria-label') ? null : nameOf(control);
            if (name) {
                control.setAttribute('aria-label', name);
            }
        }
    }
    for (const element of root.querySelectorAll(SCROLLING)) {
        element.tabIndex = 0;
    }
}

/** @param {HTMLElement} root the element that Swagger UI renders into */
export function nameControls(root) {
    new MutationObserver(() => nameWithin(root)).observe(root, { childList: true, subtree: true });
    nameWithin(root);
}
