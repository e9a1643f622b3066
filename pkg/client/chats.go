package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/google/uuid"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

// Chat is a chat as one of its members sees it. Members, Description and Invite come with the calls for a single chat only;
// LastMessage, ReadSeq, Unread and Settings with the list.
type Chat struct {
	ID           chat.ID       `json:"id"`
	Kind         chat.Kind     `json:"kind"`
	Title        string        `json:"title"`
	Members      []chat.Member `json:"members"`
	MembersCount int           `json:"members_count"`
	LastSeq      chat.Seq      `json:"last_seq"`
	LastMessage  *chat.Folded  `json:"last_message"`
	ReadSeq      chat.Seq      `json:"read_seq"`
	// Unread counts the messages from others after ReadSeq.
	Unread uint64 `json:"unread"`
	// UnreadMentions counts those of them that mention the caller, up to 100.
	UnreadMentions int `json:"unread_mentions"`

	Picture     string       `json:"picture"`
	Description string       `json:"description"`
	Invite      *Invite      `json:"invite"`
	Settings    ChatSettings `json:"settings"`
}

// Receipt says where a message stands.
type Receipt struct {
	Chat     chat.ID
	ClientID chat.ClientID
	Seq      chat.Seq
	SentAt   chat.Time
	// Duplicate says that the server knew the client id already: Seq is that of the first time.
	Duplicate bool
}

// newChat is the body of a call that makes a chat.
type newChat struct {
	Kind    chat.Kind     `json:"kind"`
	Title   string        `json:"title,omitempty"`
	Members []chat.UserID `json:"members"`
}

// Direct returns the chat between the caller and other, and whether this call made it. There is one for each pair.
func (c *Client) Direct(ctx context.Context, other chat.UserID) (ch Chat, created bool, err error) {
	in := newChat{Kind: chat.Direct, Members: []chat.UserID{other}}
	status, err := c.authed(ctx, http.MethodPost, path("chats"), in, &ch)
	return ch, status == http.StatusCreated, err
}

// NewGroup makes a group of the caller, who owns it, and others. It fails with chat.TooManyMembers.
func (c *Client) NewGroup(ctx context.Context, title string, others ...chat.UserID) (ch Chat, err error) {
	if others == nil {
		others = []chat.UserID{}
	}
	in := newChat{Kind: chat.Group, Title: title, Members: others}
	_, err = c.authed(ctx, http.MethodPost, path("chats"), in, &ch)
	return ch, err
}

// Chats returns a page of the caller's chats, the most recently active first, and the cursor of the next page, empty after
// the last. An empty cursor begins; limit zero leaves the size of the page to the server.
func (c *Client) Chats(ctx context.Context, cursor string, limit int) (chats []Chat, next string, err error) {
	q := url.Values{}
	if cursor != "" {
		q.Set("cursor", cursor)
	}
	if limit > 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	var a struct {
		Chats []Chat `json:"chats"`
		Next  string `json:"next_cursor"`
	}
	_, err = c.authed(ctx, http.MethodGet, path("chats")+"?"+q.Encode(), nil, &a)
	return a.Chats, a.Next, err
}

// Chat returns a chat with its members. It fails with chat.NotFound also for a chat that the caller is not in.
func (c *Client) Chat(ctx context.Context, id chat.ID) (ch Chat, err error) {
	_, err = c.authed(ctx, http.MethodGet, path("chats", string(id)), nil, &ch)
	return ch, err
}

// SetTitle renames a group. It fails with chat.NotFound or chat.Forbidden.
func (c *Client) SetTitle(ctx context.Context, id chat.ID, title string) error {
	_, err := c.authed(ctx, http.MethodPatch, path("chats", string(id)), map[string]string{"title": title}, nil)
	return err
}

// PutMember adds user to a group, or gives a member another role; chat.NoRole adds a plain member and changes nobody. It
// fails with chat.NotFound, chat.Forbidden or chat.TooManyMembers.
func (c *Client) PutMember(ctx context.Context, id chat.ID, user chat.UserID, role chat.Role) error {
	in := map[string]chat.Role{}
	if role != chat.NoRole {
		in["role"] = role
	}
	_, err := c.authed(ctx, http.MethodPut, path("chats", string(id), "members", string(user)), in, nil)
	return err
}

// RemoveMember removes user from a group; the caller's own id leaves it. It fails with chat.NotFound or chat.Forbidden.
func (c *Client) RemoveMember(ctx context.Context, id chat.ID, user chat.UserID) error {
	_, err := c.authed(ctx, http.MethodDelete, path("chats", string(id), "members", string(user)), nil, nil)
	return err
}

// Range selects a page of history. Zero values: no bound, and the server's limit.
type Range struct {
	// Before and After bound the seqs of the page, themselves excluded.
	Before, After chat.Seq
	// Forward asks for the events that follow After also when After is zero, the beginning.
	Forward bool
	// Limit is at most chat.MaxPage.
	Limit int
}

// Page is a part of a chat's events, ascending by seq.
type Page struct {
	Messages []chat.Event
	// HasMore says that there are further ones.
	HasMore bool
}

// History is a part of a chat's history, ascending by seq: its messages as they stand, and changes of the chat.
type History struct {
	Messages []chat.Folded `json:"messages"`
	// HasMore says that the range goes on: after ToSeq if it was read forward, else before FromSeq.
	HasMore bool `json:"has_more"`
	// FromSeq and ToSeq are the bounds of what it covers.
	FromSeq chat.Seq `json:"from_seq"`
	ToSeq   chat.Seq `json:"to_seq"`
	// FoldedTo is the event up to which all that became of the messages is in them. Fold takes what comes behind it.
	FoldedTo chat.Seq `json:"folded_to"`
}

// Messages returns a page of history: the newest without bounds. It fails with chat.NotFound.
func (c *Client) Messages(ctx context.Context, id chat.ID, r Range) (h History, err error) {
	q := url.Values{}
	if r.Before > 0 {
		q.Set("before", strconv.FormatUint(uint64(r.Before), 10))
	}
	if r.After > 0 || r.Forward {
		q.Set("after", strconv.FormatUint(uint64(r.After), 10))
	}
	if r.Limit > 0 {
		q.Set("limit", strconv.Itoa(r.Limit))
	}
	_, err = c.authed(ctx, http.MethodGet, path("chats", string(id), "messages")+"?"+q.Encode(), nil, &h)
	return h, err
}

// Post appends a message over HTTP, once: after an error that is no *chat.Error the same Outgoing may be posted again,
// and stands in the chat once. With an empty ClientID nothing tells that retry, so keep one. It fails with chat.NotFound,
// chat.BadRequest or chat.TooLong.
func (c *Client) Post(ctx context.Context, m Outgoing) (Receipt, error) {
	if err := m.complete(); err != nil {
		return Receipt{}, err
	}
	in := map[string]any{"client_id": m.ClientID, "text": m.Text}
	if m.ReplyTo > 0 {
		in["reply_to"] = m.ReplyTo
	}
	if len(m.Mentions) > 0 {
		in["mentions"] = m.Mentions
	}
	return c.post(ctx, m, in)
}

func (c *Client) post(ctx context.Context, m Outgoing, in any) (Receipt, error) {
	var a struct {
		Seq    chat.Seq  `json:"seq"`
		SentAt chat.Time `json:"sent_at"`
	}
	status, err := c.authed(ctx, http.MethodPost, path("chats", string(m.Chat), "messages"), in, &a)
	if err != nil {
		return Receipt{}, err
	}
	return Receipt{Chat: m.Chat, ClientID: m.ClientID, Seq: a.Seq, SentAt: a.SentAt, Duplicate: status == http.StatusOK}, nil
}

// MarkRead moves the caller's read cursor forward to seq; it never moves back. It fails with chat.NotFound, or
// chat.BadRequest for a seq beyond the last.
func (c *Client) MarkRead(ctx context.Context, id chat.ID, seq chat.Seq) error {
	in := map[string]chat.Seq{"seq": seq}
	_, err := c.authed(ctx, http.MethodPut, path("chats", string(id), "read"), in, nil)
	return err
}

// MarkDelivered says that a device of the caller has the chat up to seq, as one does that a push woke. It fails as MarkRead does.
func (c *Client) MarkDelivered(ctx context.Context, id chat.ID, seq chat.Seq) error {
	in := map[string]chat.Seq{"seq": seq}
	_, err := c.authed(ctx, http.MethodPut, path("chats", string(id), "delivered"), in, nil)
	return err
}

// Standing is how far a member is in a chat: has read it, and has it on a device, which is never less.
type Standing struct {
	User      chat.UserID `json:"user_id"`
	Read      chat.Seq    `json:"read_seq"`
	Delivered chat.Seq    `json:"delivered_seq"`
}

// Receipts returns how far every member of a chat is. It fails with chat.NotFound.
func (c *Client) Receipts(ctx context.Context, id chat.ID) ([]Standing, error) {
	var a struct {
		Receipts []Standing `json:"receipts"`
	}
	_, err := c.authed(ctx, http.MethodGet, path("chats", string(id), "receipts"), nil, &a)
	return a.Receipts, err
}

// Outgoing is a message to send.
type Outgoing struct {
	Chat chat.ID
	// ClientID names this message among those of its sender in its chat; whatever is sent with the same one is the same
	// message. Empty makes a UUIDv7.
	ClientID chat.ClientID
	Text     string
	// ReplyTo is the message that is answered; zero is none. Mentions are of members, none twice.
	ReplyTo  chat.Seq
	Mentions []chat.UserID
}

// complete makes the client id and refuses what the server would refuse, before it travels.
func (m *Outgoing) complete() error {
	if err := m.named(); err != nil {
		return err
	}
	return chat.CheckText(m.Text)
}

// named makes the client id unless there is one, which it checks.
func (m *Outgoing) named() error {
	if m.ClientID == "" {
		id, err := uuid.NewV7()
		if err != nil {
			return err
		}
		m.ClientID = chat.ClientID(id.String())
	}
	_, err := chat.ParseClientID(string(m.ClientID))
	return err
}
