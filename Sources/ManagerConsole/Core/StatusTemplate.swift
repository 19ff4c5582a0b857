#if Server
/// The page's style. Its digest stands in the page's Content-Security-Policy.
let statusStyle = """
    body { font: 15px/1.4 system-ui, sans-serif; margin: 2em auto; max-width: 70em; padding: 0 1em; }
    h2 { margin-top: 1.6em; font-size: 1.1em; }
    table { border-collapse: collapse; width: 100%; }
    th, td { text-align: left; padding: .25em .8em .25em 0; border-bottom: 1px solid #ddd; }
    """

/// The status page. Every value is a ``PageText``, escaped already, hence the triple braces; none
/// stands in an attribute.
let statusTemplate = """
    <!doctype html>
    <html lang="en">
    <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width">
    <title>Reeve</title>
    <style>{{{style}}}</style>
    </head>
    <body>
    <h1>Reeve: {{{node}}}</h1>
    <p>{{{role}}}, {{{epoch}}}, revision {{{revision}}}, {{{devices}}} devices. As of {{{now}}}.</p>

    <h2>Nodes</h2>
    <table>
    <tr><th>Node</th><th>Role</th><th>State</th><th>Behind by</th><th>Last heard</th></tr>
    {{#nodes}}
    <tr><td>{{{node}}}</td><td>{{{role}}}</td><td>{{{state}}}</td><td>{{{lag}}}</td><td>{{{heard}}}</td></tr>
    {{/nodes}}
    {{^nodes}}
    <tr><td colspan="5">No node has joined.</td></tr>
    {{/nodes}}
    </table>

    <h2>Channels</h2>
    <table>
    <tr><th>Channel</th><th>Release</th><th>Tree</th><th>Applied by</th><th>Refused by</th></tr>
    {{#channels}}
    <tr><td>{{{channel}}}</td><td>{{{number}}}</td><td>{{{root}}}</td><td>{{{applied}}}</td><td>{{{refused}}}</td></tr>
    {{/channels}}
    {{^channels}}
    <tr><td colspan="5">Nothing is published.</td></tr>
    {{/channels}}
    </table>

    <h2>Newest activities</h2>
    <table>
    <tr><th>Number</th><th>Operation</th><th>State</th><th>Addressed</th><th>Executions</th><th>Enqueued</th></tr>
    {{#activities}}
    <tr><td>{{{number}}}</td><td>{{{code}}}</td><td>{{{state}}}</td><td>{{{addressed}}}</td><td>{{{counts}}}</td><td>{{{created}}}</td></tr>
    {{/activities}}
    {{^activities}}
    <tr><td colspan="6">Nothing was enqueued.</td></tr>
    {{/activities}}
    </table>

    <h2>Wake-ups</h2>
    <p>{{{wakes}}}</p>
    </body>
    </html>
    """
#endif
