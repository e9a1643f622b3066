package storetest

import (
	"context"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
)

func wantSettings(t *testing.T, s store.Store, user chat.UserID, id chat.ID, want store.ChatSettings) {
	t.Helper()
	got, err := s.ChatSettingsOf(t.Context(), user, id)
	check(t, "ChatSettingsOf", err)
	if !cmp.Equal(got, want) {
		t.Errorf("ChatSettingsOf (-want +got):\n%s", cmp.Diff(want, got))
	}
	all, err := s.ChatsOf(t.Context(), user)
	check(t, "ChatsOf", err)
	for _, c := range all {
		if c.Chat == id && !cmp.Equal(c.Settings, want) {
			t.Errorf("ChatsOf (-want +got):\n%s", cmp.Diff(want, c.Settings))
		}
	}
}

func wantHidden(t *testing.T, s store.Store, user chat.UserID, id chat.ID, from, to chat.Seq, want ...chat.Seq) {
	t.Helper()
	got, err := s.Hidden(t.Context(), user, id, from, to)
	check(t, "Hidden", err)
	if !slices.Equal(got, want) {
		t.Errorf("Hidden from %d to %d: got %v; want %v", from, to, got, want)
	}
}

func wantBlocks(t *testing.T, s store.Store, by chat.UserID, want ...chat.UserID) {
	t.Helper()
	got, err := s.Blocks(t.Context(), by)
	check(t, "Blocks", err)
	if slices.Sort(want); !slices.Equal(got, want) {
		t.Errorf("Blocks: got %v; want %v", got, want)
	}
	for _, u := range append(want, newUser()) {
		is, err := s.IsBlocked(t.Context(), by, u)
		check(t, "IsBlocked", err)
		if is != slices.Contains(want, u) {
			t.Errorf("IsBlocked: got %v; want %v", is, !is)
		}
	}
}

var personal = []test{
	{"SettingsComeBackAsTheyWereSetLast", func(t *testing.T, s store.Store) {
		user, other, id, similar := newUser(), newUser(), newChat(), newChat()
		write(t, s, created(id, user, other))
		wantSettings(t, s, user, id, store.ChatSettings{})
		until, past := chat.TimeOf(time.Now().Add(time.Hour)).Time, time.UnixMicro(0).UTC()
		for _, want := range []store.ChatSettings{
			{Archived: true}, {MutedUntil: &until}, {MutedUntil: &past, MarkedUnread: true}, {Archived: true, MarkedUnread: true}, {},
			{MutedUntil: &until, Archived: true, MarkedUnread: true, MarkedAt: 1 << 40}, {MarkedUnread: true, MarkedAt: 7},
		} {
			check(t, "SetChatSettings", s.SetChatSettings(t.Context(), user, id, want))
			wantSettings(t, s, user, id, want)
			wantSettings(t, s, other, id, store.ChatSettings{})
			wantSettings(t, s, user, similar, store.ChatSettings{})
		}
	}},
	{"SettingsMakeNobodyAMemberAndOutliveWhoLeaves", func(t *testing.T, s store.Store) {
		user, id := newUser(), newChat()
		set := store.ChatSettings{Archived: true}
		check(t, "SetChatSettings", s.SetChatSettings(t.Context(), user, id, set))
		wantChats(t, s, user)
		write(t, s, added(id, 2, user))
		wantChats(t, s, user, id)
		wantSettings(t, s, user, id, set)
		write(t, s, removed(id, 5, user))
		wantChats(t, s, user)
		wantSettings(t, s, user, id, set)
	}},
	{"TheIndexOfChatsCarriesTheSettingsOfEach", func(t *testing.T, s store.Store) {
		user := newUser()
		want := map[chat.ID]store.ChatSettings{}
		for i := range 9 {
			id := newChat()
			write(t, s, created(id, user, newUser()))
			want[id] = store.ChatSettings{}
			if i%3 > 0 {
				until := chat.TimeOf(time.Now().Add(time.Duration(i) * time.Hour)).Time
				want[id] = store.ChatSettings{MutedUntil: &until, Archived: i%2 == 0}
				check(t, "SetChatSettings", s.SetChatSettings(t.Context(), user, id, want[id]))
			}
		}
		got, err := s.ChatsOf(t.Context(), user)
		check(t, "ChatsOf", err)
		if len(got) != len(want) {
			t.Fatalf("ChatsOf: got %d chats; want %d", len(got), len(want))
		}
		for _, c := range got {
			if !cmp.Equal(c.Settings, want[c.Chat]) {
				t.Errorf("ChatsOf (-want +got):\n%s", cmp.Diff(want[c.Chat], c.Settings))
			}
		}
	}},
	{"WhatIsHiddenIsHiddenFromOnePersonInOneChat", func(t *testing.T, s store.Store) {
		user, id := newUser(), newChat()
		wantHidden(t, s, user, id, 0, math.MaxUint64)
		check(t, "Hide nothing", s.Hide(t.Context(), user, id))
		for range 2 {
			check(t, "Hide", s.Hide(t.Context(), user, id, 300, 2, 1<<40, 3, 300))
		}
		check(t, "Hide", s.Hide(t.Context(), user, id, 257))
		wantHidden(t, s, user, id, 0, math.MaxUint64, 2, 3, 257, 300, 1<<40)
		wantHidden(t, s, user, id, 3, 257, 3, 257)
		wantHidden(t, s, user, id, 4, 256)
		wantHidden(t, s, user, id, 300, 300, 300)
		wantHidden(t, s, user, id, 5, 4)
		wantHidden(t, s, user, id+"-", 0, 1000)
		wantHidden(t, s, user+"-", id, 0, 1000)
	}},
	{"WhoIsBlockedIsBlockedByOnePersonUntilUnblocked", func(t *testing.T, s store.Store) {
		by, a, b := newUser(), newUser(), newUser()
		wantBlocks(t, s, by)
		for range 2 {
			check(t, "Block", s.Block(t.Context(), by, a))
			check(t, "Block", s.Block(t.Context(), by, b))
			wantBlocks(t, s, by, a, b)
			wantBlocks(t, s, a)
		}
		for range 2 {
			check(t, "Unblock", s.Unblock(t.Context(), by, a))
			wantBlocks(t, s, by, b)
		}
		check(t, "Block", s.Block(t.Context(), by, a))
		wantBlocks(t, s, by, a, b)
	}},
	{"TheLastOfManyBlocksAndUnblocksHolds", func(t *testing.T, s store.Store) {
		by := newUser()
		var want []chat.UserID
		for i := range 6 {
			u := newUser()
			for _, f := range []func(context.Context, chat.UserID, chat.UserID) error{s.Block, s.Unblock, s.Block, s.Unblock}[:i%4+1] {
				check(t, fmt.Sprint("call ", i), f(t.Context(), by, u))
			}
			if i%2 == 0 {
				want = append(want, u)
			}
		}
		wantBlocks(t, s, by, want...)
	}},
}

// everyPersonalCall makes every call of store.Personal once.
func everyPersonalCall(ctx context.Context, s store.Store, do func(call string, err error)) {
	user, other, id := newUser(), newUser(), newChat()
	do("SetChatSettings", s.SetChatSettings(ctx, user, id, store.ChatSettings{Archived: true}))
	_, err := s.ChatSettingsOf(ctx, user, id)
	do("ChatSettingsOf", err)
	do("Hide", s.Hide(ctx, user, id, 1))
	_, err = s.Hidden(ctx, user, id, 1, 2)
	do("Hidden", err)
	do("Block", s.Block(ctx, user, other))
	_, err = s.Blocks(ctx, user)
	do("Blocks", err)
	_, err = s.IsBlocked(ctx, user, other)
	do("IsBlocked", err)
	do("Unblock", s.Unblock(ctx, user, other))
}
