import { element } from "../dom";
import type { Control } from "../messages";
import { Button } from "./button";
import { Choice } from "./choice";
import type { Actions, Widget } from "./control";
import { Order } from "./order";
import { Range } from "./range";
import { Steering } from "./steering";
import { Switch } from "./switch";

/** The widget of a declared control. */
export function widget(control: Control, actions: Actions): Widget {
  const made = plain(control, actions);
  made.node.dataset.control = control.name;
  if (control.help && control.kind === "button") made.node.title = control.help;
  else if (control.help) made.node.append(element("p", { class: "hint" }, control.help));
  return made;
}

function plain(control: Control, actions: Actions): Widget {
  switch (control.kind) {
    case "range":
      return new Range(control, actions);
    case "switch":
      return new Switch(control, actions);
    case "button":
      return new Button(control, actions);
    case "choice":
      return new Choice(control, actions);
    case "order":
      return new Order(control, actions);
    case "steering":
      return new Steering(control, actions);
  }
}
