import { element } from "../dom";
import type { Panel } from "../messages";
import { Bars } from "./bars";
import { BodiesView } from "./bodies";
import { CartPoleView } from "./cart_pole";
import { Curve } from "./curve";
import { Matrix } from "./matrix";
import type { Pointer, View } from "./panel";
import { Picture } from "./picture";
import { Points } from "./points";
import { Text } from "./text";

/** The view of a declared panel. */
export function view(panel: Panel, pointer: Pointer): View {
  switch (panel.kind) {
    case "picture":
      return new Picture(panel, pointer);
    case "bars":
      return new Bars(panel);
    case "matrix":
      return new Matrix(panel);
    case "curve":
      return new Curve(panel);
    case "cart-pole":
      return new CartPoleView(panel, pointer);
    case "bodies":
      return new BodiesView(panel);
    case "points":
      return new Points(panel);
    case "text":
      return new Text();
  }
}

/** A panel with its caption. */
export function framed(panel: Panel, content: View): HTMLElement {
  const attributes: Record<string, string> = {
    class: `panel ${panel.kind}${panel.wide ? " wide" : ""}`,
    "data-panel": panel.name,
  };
  return element("figure", attributes, element("figcaption", {}, panel.label), content.node);
}
