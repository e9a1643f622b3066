// Starts the page.

import { render } from "preact";
import { followAddress } from "./app/route";
import { restore } from "./app/session";
import { follow } from "./app/store";
import "./styles/base.css";
import "./styles/controls.css";
import "./styles/avatar.css";
import "./styles/entry.css";
import "./styles/sidebar.css";
import "./styles/conversation.css";
import "./styles/message.css";
import "./styles/panels.css";
import { App } from "./ui/App";

const root = document.getElementById("app");
if (root) {
  followAddress();
  follow();
  restore();
  render(<App />, root);
}
