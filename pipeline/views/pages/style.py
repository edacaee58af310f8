"""How a page looks: light and dark, broad and narrow."""

CSS = """
:root { color-scheme: light dark; --paper: #fdfdfb; --ink: #1d2126; --soft: #59616b;
  --line: #d7dade; --card: #f3f4f2; --mark: #2563a8; --warm: #b4460c; --good: #17693a; }
@media (prefers-color-scheme: dark) { :root { --paper: #15181c; --ink: #e6e8ea; --soft: #a3abb5;
  --line: #383e46; --card: #1e2228; --mark: #74aef0; --warm: #f2995e; --good: #6fd097; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 1.5rem 1rem 3rem; background: var(--paper);
  color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; padding-top: .7rem;
  border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.2rem 0 .4rem; }
p { margin: .4rem 0; max-width: 46rem; overflow-wrap: anywhere; }
li { overflow-wrap: anywhere; }
.verdict { border-left: .35rem solid var(--warm); background: var(--card); padding: .6rem 1rem; }
.verdict.healthy { border-color: var(--good); }
.verdict strong { color: var(--warm); }
.verdict.healthy strong { color: var(--good); }
.verdict ul { margin: .3rem 0 0; padding-left: 1.1rem; }
.scroll { overflow-x: auto; }
.scroll:focus-visible { outline: 2px solid var(--mark); }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92rem; }
th, td { padding: .25rem .7rem .25rem 0; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; }
th:first-child, td:first-child, td.text, th.text { text-align: left; }
dl { display: grid; grid-template-columns: minmax(5rem, auto) 1fr; gap: .15rem 1rem; margin: 0; }
dt { color: var(--soft); overflow-wrap: anywhere; }
dd { margin: 0; overflow-wrap: anywhere; }
.cards { display: grid; gap: .8rem; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); }
.card { margin: 0; padding: .6rem; background: var(--card); border-radius: .4rem; min-width: 0; }
.card svg { display: block; width: 100%; height: auto; }
figcaption, small { color: var(--soft); font-size: .85rem; overflow-wrap: anywhere; }
figcaption { margin-top: .3rem; }
.trio { display: flex; gap: .4rem; }
.trio span { flex: 0 1 6rem; min-width: 0; text-align: center; }
.trio img { width: 100%; display: block; }
img { image-rendering: pixelated; max-width: 100%; outline: 1px solid var(--line); }
img.plot { image-rendering: auto; outline: none; height: auto; }
.weights { display: flex; flex-wrap: wrap; gap: .6rem; align-items: flex-start; }
.weights img { display: block; background: var(--card); }
.bar { display: flex; flex-wrap: wrap; gap: .1rem .4rem; align-items: center; font-size: .85rem;
  color: var(--soft); }
.bar img { height: .7rem; width: 8rem; image-rendering: auto; }
svg text { fill: var(--soft); font: 11px system-ui, sans-serif; }
.end { text-anchor: end; } .mid { text-anchor: middle; }
.axis { fill: none; stroke: var(--soft); } .grid { stroke: var(--line); }
.mark { fill: var(--mark); } .dot { fill: var(--mark); fill-opacity: .45; }
.line { fill: none; stroke: var(--mark); stroke-width: 1.5; }
.line.target { stroke: var(--warm); stroke-width: 6; stroke-opacity: .35; }
.s0, .s8 { --series: #2563a8; } .s1, .s9 { --series: #b4460c; } .s2 { --series: #17693a; }
.s3 { --series: #7a3e9d; } .s4 { --series: #8a6d00; } .s5 { --series: #00707a; }
.s6 { --series: #a8255f; } .s7 { --series: #59616b; }
@media (prefers-color-scheme: dark) { .s0, .s8 { --series: #74aef0; }
  .s1, .s9 { --series: #f2995e; } .s2 { --series: #6fd097; } .s3 { --series: #c39be0; }
  .s4 { --series: #d8bd55; } .s5 { --series: #5fc6cf; } .s6 { --series: #f08db6; }
  .s7 { --series: #a3abb5; } }
.series { fill: none; stroke: var(--series); stroke-width: 1.4; }
.series.s8, .series.s9 { stroke-dasharray: 4 3; }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1rem; font-size: .9rem; }
.legend span::before { content: ""; display: inline-block; width: 1.2rem; height: .2rem;
  margin-right: .4rem; vertical-align: middle; background: var(--series); }
.legend .s8::before, .legend .s9::before {
  background: repeating-linear-gradient(90deg, var(--series) 0 .3rem, transparent 0 .45rem); }
.confusion td { --share: 0%; background: color-mix(in srgb, var(--mark) var(--share), transparent);
  min-width: 2rem; padding: .25rem .1rem; text-align: center; }
.confusion th { text-align: center; padding: .25rem .4rem; }
.confusion td:first-child { text-align: center; }
.lead { font-size: 1.05rem; }
pre { overflow-x: auto; background: var(--card); padding: .7rem; border-radius: .4rem;
  font-size: .85rem; line-height: 1.4; }
.key { color: var(--mark); } .key.target { color: var(--warm); }
footer { margin-top: 2.5rem; color: var(--soft); font-size: .85rem; }
"""
