/** How timeline.ts looks, by light and by night. Bars take their place from variables: --t to scale, --e in equal steps. */
export const TIMELINE_STYLE = `
:root { color-scheme: light dark; --ground: #fff; --text: #1b1f24; --faint: #656d76; --line: #d0d7de; --band: #f6f8fa;
  --put: #bc4c00; --delete: #8250df; --get: #0969da; --rmw: #9a6700; --bad: #cf222e; --good: #1a7f37; --zoom: 1; --names: 7rem; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #0d1117; --text: #e6edf3; --faint: #8b949e; --line: #30363d; --band: #161b22;
    --put: #f0883e; --delete: #bc8cff; --get: #58a6ff; --rmw: #d29922; --bad: #ff7b72; --good: #56d364; }
}
body { margin: 1.5rem; background: var(--ground); color: var(--text); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.3rem; margin: 0 0 .5rem; overflow-wrap: anywhere; }
h1.violation { color: var(--bad); } h1.linearizable { color: var(--good); }
h2 { position: sticky; left: 0; width: fit-content; margin: 1rem 0 .25rem; font-size: .9rem; color: var(--faint); }
p { max-width: 80ch; margin: .5rem 0; overflow-wrap: anywhere; }
.counts, .none { color: var(--faint); }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .15rem 1rem .15rem 0; text-align: left; border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
th { color: var(--faint); font-weight: 600; white-space: nowrap; }
.time { text-align: right; padding-left: 1rem; white-space: nowrap; }
.controls { display: flex; flex-wrap: wrap; gap: .5rem 1.5rem; align-items: center; font-size: .85rem; }
fieldset { display: flex; gap: .75rem; margin: 0; padding: 0; border: 0; }
fieldset legend { float: left; padding: 0; color: var(--faint); }
.legend { color: var(--faint); }
.key { display: inline-block; width: 1rem; height: .7rem; margin: 0 .25rem 0 .6rem; border-radius: 2px; background: var(--color); }
.scroll { overflow-x: auto; margin-top: .75rem; padding-bottom: 4rem; border-top: 1px solid var(--line); }
.track { position: relative; width: calc(var(--names) + (100vw - 3rem - var(--names)) * var(--zoom)); }
body:has(#zoom-4:checked) { --zoom: 4; } body:has(#zoom-16:checked) { --zoom: 16; } body:has(#zoom-64:checked) { --zoom: 64; }
.row { display: flex; } .row:nth-child(even) { background: var(--band); }
.name { position: sticky; left: 0; z-index: 3; width: var(--names); flex: none; background: var(--ground); color: var(--faint); font-size: .8rem; }
.lanes { position: relative; flex: 1; height: calc(var(--n, 1) * .7rem + .2rem); }
.window .lanes { height: calc(var(--n) * 1.7rem + .2rem); }
.guides { position: absolute; inset: 0 0 0 var(--names); pointer-events: none; }
.guides i { position: absolute; top: 0; bottom: 0; left: var(--e); border-left: 1px dashed var(--line); }
.axis .lanes { height: 1.4rem; }
.axis span { position: absolute; left: var(--e); padding-left: .25rem; font-size: .75rem; color: var(--faint); white-space: nowrap; }
.axis .in-scale { display: none; }
body:has(#true-scale:checked) :is(.axis span, .guides i, .bar) { left: var(--t); }
body:has(#true-scale:checked) .bar { width: max(3px, var(--tw)); }
body:has(#true-scale:checked) .axis .in-scale { display: inline; } body:has(#true-scale:checked) .axis .in-steps { display: none; }
.put { --color: var(--put); } .get { --color: var(--get); } .delete { --color: var(--delete); } .rmw { --color: var(--rmw); }
.bar { position: absolute; left: var(--e); width: max(3px, var(--ew)); top: calc(var(--l) * .7rem + .15rem); height: .55rem;
  border-radius: 2px; background: var(--color); opacity: .6; }
.window .bar { top: calc(var(--l) * 1.7rem + .2rem); height: 1.4rem; opacity: 1; box-sizing: border-box;
  border: 2px solid var(--bad); background: color-mix(in srgb, var(--color) 30%, var(--ground)); }
.bar b { position: relative; padding-left: .3rem; font-size: .8rem; font-weight: 600; line-height: 1.05rem; vertical-align: top; white-space: nowrap; color: var(--text); }
.open { --color: var(--faint); } .bar.open { border-right-style: dotted; border-radius: 2px 0 0 2px;
  mask-image: linear-gradient(to right, #000 70%, #0005); }
.bar.open.put { --color: var(--put); } .bar.open.delete { --color: var(--delete); } .bar.open.rmw { --color: var(--rmw); }
.key.open { background: linear-gradient(to right, var(--faint), transparent); }
.bar:hover, .bar:focus { opacity: 1; outline: 2px solid var(--text); z-index: 2; mask-image: none; }
.bar > span { display: none; }
.bar:hover > span, .bar:focus > span { display: block; position: fixed; left: 1.5rem; bottom: 1rem; z-index: 9; max-width: 90vw;
  padding: .4rem .8rem; border: 1px solid var(--line); border-radius: 4px; background: var(--band); color: var(--text); overflow-wrap: anywhere; }
`;
