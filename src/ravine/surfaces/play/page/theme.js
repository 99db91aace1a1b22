// The colours of the style sheet, for what is drawn.

export const dark = matchMedia("(prefers-color-scheme: dark)");
export const still = matchMedia("(prefers-reduced-motion: reduce)");

export const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));

export function theme() {
  const css = getComputedStyle(document.documentElement), of = (name) => css.getPropertyValue(name).trim();
  return {
    paper: of("--paper"), ink: of("--ink"), soft: of("--soft"), rule: of("--rule"), accent: of("--accent"),
    ramp: ["--deep", "--middle", "--high"].map((name) => rgb(of(name))), heat: ["--heat-0", "--heat-1", "--heat-2", "--heat-3"].map((name) => rgb(of(name))),
    nowhere: rgb(of("--nowhere")), family: getComputedStyle(document.body).fontFamily,
  };
}
