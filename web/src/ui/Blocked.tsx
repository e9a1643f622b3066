// What stands in place of the box to write in while one of two people has blocked the other.

import { blockSentence, faultSentence } from "../app/sentences";
import { api } from "../app/session";
import { names, type OpenChat, tell } from "../app/store";
import { codeOf, type User } from "../chatmesh";

export function Blocked({ chat, me }: { chat: OpenChat; me: User }) {
  const unblock = () => api.unblock(chat.peer).catch((error) => tell(faultSentence(codeOf(error))));
  return (
    <div class="composer blocked" role="status" data-testid="blocked">
      <p>{blockSentence(chat.blockedBy, me.id, names.value)}</p>
      {chat.blockedBy.includes(me.id) && (
        <button type="button" class="plain" data-testid="unblock-here" onClick={() => void unblock()}>
          Unblock
        </button>
      )}
    </div>
  );
}
