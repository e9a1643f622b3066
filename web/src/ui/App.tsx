// The page as a whole: the log-in page, or list and conversation side by side.

import { openId } from "../app/route";
import { client } from "../app/session";
import { notice } from "../app/store";
import { Confirm } from "./Confirm";
import { Conversation } from "./Conversation";
import { Entrance } from "./Entrance";
import { Invited } from "./Invited";
import { PassOn } from "./PassOn";
import { Sidebar } from "./Sidebar";

export function App() {
  const current = client.value;
  if (!current) return <Entrance />;
  return (
    <div class={openId.value ? "app has-chat" : "app"} key={current.me.id} data-testid="app">
      <Sidebar me={current.me} />
      <Conversation me={current.me} />
      <Confirm />
      <PassOn />
      <Invited />
      <div class="notice" role="alert" data-testid="notice" hidden={notice.value === ""}>
        {notice.value}
      </div>
    </div>
  );
}
