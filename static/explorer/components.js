/** Replacements for parts of Swagger UI: fewer parts, with the page's own classes, and accessible. */

/** @param {{React: object}} system the parts that Swagger UI provides */
export function components({ React: { createElement: element } }) {
    const nothing = () => null;

    /** Shows endpoints by tag, and the named schemas. The page itself has the heading, search and secret. */
    function ExplorerLayout({ getComponent, specSelectors }) {
        const parts = ['operations', 'Models'].map((name) => element(getComponent(name, true), { key: name }));
        const isEmpty = specSelectors.taggedOperations().size === 0;
        const empty = isEmpty ? element('p', { key: 'empty', className: 'empty' }, 'No endpoint matches.') : null;
        return element('div', { className: 'swagger-ui' }, element(getComponent('errors', true)), empty, ...parts);
    }

    /** Shows code in the colours of the page. The keyboard can scroll it. */
    function SyntaxHighlighter({ children, className }) {
        return element('pre', { className: `code wrap ${className ?? ''}`, tabIndex: 0 }, children);
    }

    /** Renders no link, because it would be inside a button. */
    const DeepLink = ({ text }) => element('span', null, text);

    /** Marks signed endpoints. The page has one field for the secret of all endpoints. */
    const authorizeOperationBtn = () => element('span', { className: 'badge accent' }, 'signed');

    return {
        components: { ExplorerLayout, SyntaxHighlighter, DeepLink, authorizeOperationBtn, JumpToPath: nothing },
    };
}
