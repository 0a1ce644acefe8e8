"""The one stylesheet: large enough for a projector, light or dark as the browser asks."""

CSS = """
:root{--ground:#fff;--raised:#f5f6f8;--text:#1c1e24;--quiet:#5b6070;--line:#dcdfe6;--link:#1458c8;
--good:#0e6b38;--good-bg:#d9f2e2;--bad:#a3160f;--bad-bg:#fde2df;--busy:#7a4a00;--busy-bg:#ffedc9;--plain-bg:#e7e9ef;
--banner:#fc6d26;--banner-text:#1c1204;--trace:#15171c;--trace-text:#e6e8ee}
@media (prefers-color-scheme:dark){:root{--ground:#15171c;--raised:#1f2229;--text:#eceef3;--quiet:#a4aabb;
--line:#343945;--link:#8ab6ff;--good:#7fe0a5;--good-bg:#123a24;--bad:#ff9d94;--bad-bg:#4a1714;--busy:#ffce7a;
--busy-bg:#46330a;--plain-bg:#2d323d;--trace:#0d0f13}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--text);
font:18px/1.5 system-ui,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
a{color:var(--link);text-decoration:none}a:hover,a:focus-visible{text-decoration:underline}
.banner{background:var(--banner);color:var(--banner-text);padding:.35rem 1.5rem;display:flex;gap:.1rem 1rem;
align-items:baseline;flex-wrap:wrap}
.banner strong{letter-spacing:.12em}
.trail{padding:.6rem 1.5rem;border-bottom:1px solid var(--line);color:var(--quiet)}
.step+.step::before{content:"/";padding:0 .6rem;color:var(--quiet)}
main{max-width:80rem;margin:0 auto;padding:1rem 1.5rem 4rem}
h1{font-size:1.8rem;line-height:1.2;margin:.8rem 0 1rem;overflow-wrap:anywhere}
h2{font-size:1.25rem;margin:2.2rem 0 .7rem}h3{font-size:1.05rem;margin:1.4rem 0 .4rem}
.tabs{display:flex;flex-wrap:wrap;gap:.2rem 1.4rem;border-bottom:1px solid var(--line);margin:0 0 1.4rem}
.tabs a{padding:.4rem 0;color:var(--quiet)}.tabs .here{color:var(--text);border-bottom:3px solid var(--banner)}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%}
th{text-align:left;color:var(--quiet);font-weight:600;font-size:.9rem}
th,td{padding:.5rem .9rem .5rem 0;border-bottom:1px solid var(--line);vertical-align:top}
code,pre{font-family:ui-monospace,"Cascadia Mono",Consolas,"DejaVu Sans Mono",monospace;font-size:.92em}
code{background:var(--raised);padding:.1em .35em;border-radius:4px;overflow-wrap:anywhere}
pre{background:var(--raised);padding:1rem;border-radius:8px;overflow-x:auto;line-height:1.45;margin:.6rem 0}
pre code{background:none;padding:0}
.trace{background:var(--trace);color:var(--trace-text);white-space:pre-wrap;overflow-wrap:anywhere}
.badge{display:inline-block;padding:.08em .7em;border-radius:99px;font-weight:600;font-size:.88em;white-space:nowrap;
background:var(--plain-bg)}
.good{color:var(--good);background:var(--good-bg)}.bad{color:var(--bad);background:var(--bad-bg)}
.busy{color:var(--busy);background:var(--busy-bg)}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.4rem 1.6rem;margin:0}dt{color:var(--quiet)}dd{margin:0;
overflow-wrap:anywhere}
.quiet{color:var(--quiet)}.note{border-left:4px solid var(--banner);background:var(--raised);padding:.6rem 1rem;
border-radius:0 8px 8px 0;margin:1rem 0}
.stages{display:flex;gap:1.2rem;flex-wrap:wrap;align-items:stretch}
.stage{background:var(--raised);border-radius:10px;padding:.8rem 1rem;min-width:15rem}
.stage h3{margin:0 0 .5rem;font-size:1rem;color:var(--quiet)}.stage p{margin:.35rem 0}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(22rem,1fr));gap:1.2rem}
.card{background:var(--raised);border-radius:10px;padding:1rem 1.2rem}.card h2{margin:0 0 .6rem}
.tree{list-style:none;padding-left:0;margin:0}.tree li{padding:.35rem 0;border-bottom:1px solid var(--line)}
.tree .in1{padding-left:1.8rem}.tree .in2{padding-left:3.6rem}.tree .in3{padding-left:5.4rem}
.status{display:flex;gap:1rem 2.5rem;flex-wrap:wrap;background:var(--raised);border-radius:10px;padding:1rem 1.2rem;
margin-bottom:1rem}.status>div>span:first-child{display:block;color:var(--quiet);font-size:.9rem}
.add{color:var(--good)}.del{color:var(--bad)}
.c0{color:#7d8590}.c1{color:#ff7b72}.c2{color:#7ee787}.c3{color:#f2cc60}.c4{color:#79c0ff}.c5{color:#d2a8ff}.c6{color:#76e3ea}
.c7{color:#f0f3f6}.b{font-weight:700}.u{text-decoration:underline}
"""
