"""The report's style sheet: light and dark, paper and phone, nothing loaded from anywhere."""

STYLE = """
:root { color-scheme: light dark; --ink: #1a1a1a; --paper: #fff; --soft: #5a5a5a; --line: #d4d4d4;
  --good: #1d6b3a; --part: #8a5a00; --bad: #a32a2a }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e6e6; --paper: #161616; --soft: #a6a6a6; --line: #3a3a3a;
    --good: #74c690; --part: #e0b060; --bad: #f08a8a }
}
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 84rem; padding: 1.5rem 1rem 4rem; font: 1rem/1.5 system-ui, sans-serif;
  color: var(--ink); background: var(--paper) }
p, li { max-width: 46rem }
a { color: inherit }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .5rem }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .5rem; border-top: 1px solid var(--line); padding-top: 1rem }
nav a { margin-right: 1rem; white-space: nowrap }
figure { margin: 1.5rem 0 }
figcaption { font-weight: 600; margin-bottom: .4rem }
figure.picture figcaption { font-weight: 400; font-size: .9rem; color: var(--soft); max-width: 60rem }
figure img { max-width: 100%; height: auto; background: #fff }
.scroll { overflow-x: auto; max-width: 100%; overscroll-behavior-x: contain }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums }
th, td { padding: .3rem .6rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line) }
thead th { vertical-align: bottom; min-width: 5.5rem }
tbody th { font-weight: 500; min-width: 9rem; position: sticky; left: 0; background: var(--paper) }
td small { color: var(--soft); display: block; white-space: nowrap }
td.missing { color: var(--soft) }
.notes { font-size: .85rem; color: var(--soft); padding-left: 1.2rem }
details { margin: 1rem 0 }
summary { cursor: pointer; font-weight: 500 }
tr.group th { padding-top: .9rem; font-weight: 700; position: static }
.aims tbody th { min-width: 16rem; position: static }
.aims td:nth-child(2) { font-weight: 600; min-width: 8rem }
.aims td:nth-child(3) { min-width: 20rem }
.holds { color: var(--good) }
.partly { color: var(--part) }
.short { color: var(--bad) }
.open { color: var(--soft) }
code { font-size: .9em; overflow-wrap: anywhere }
@media (max-width: 40rem) {
  body { padding: 1rem .75rem 3rem }
  table { font-size: 1rem }
  th, td { padding: .35rem .5rem }
  tbody th { min-width: 7rem; max-width: 9rem; overflow-wrap: anywhere }
  nav a { display: inline-block; padding: .3rem 0 }
  .aims, .aims tbody, .aims tr, .aims th, .aims td { display: block; max-width: none;
    min-width: 0 !important }
  .aims thead { display: none }
  .aims tr { border-bottom: 1px solid var(--line); padding: .4rem 0 }
  .aims th, .aims td { border: 0; padding: .1rem 0 }
}
@media print {
  :root { color-scheme: light; --ink: #000; --paper: #fff; --soft: #444; --line: #bbb }
  nav { display: none }
  .scroll { overflow: visible }
  table { font-size: .6rem; width: 100% }
  th, td { padding: .15rem .3rem }
  thead th, tbody th, .aims tbody th, .aims td { min-width: 0 !important }
  td small { white-space: normal }
  figure.picture, tr { break-inside: avoid }
}
"""
