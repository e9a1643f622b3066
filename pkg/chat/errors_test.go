package chat_test

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

func TestCodesListsEveryCodeOfTheContract(t *testing.T) {
	contract := []chat.Code{"bad_request", "unauthorized", "forbidden", "not_found", "too_long", "too_large", "rate_limited",
		"unavailable", "conflict", "too_many_members", "username_taken", "invalid_credentials", "invalid_token", "internal"}
	if !slices.Equal(chat.Codes, contract) {
		t.Fatalf("got %v; want %v", chat.Codes, contract)
	}
}

func TestCodesListsEveryCodeOfTheSource(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "errors.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var source []chat.Code
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST {
			continue
		}
		for _, s := range g.Specs {
			v := s.(*ast.ValueSpec)
			if typ, ok := v.Type.(*ast.Ident); !ok || typ.Name != "Code" {
				continue
			}
			for _, val := range v.Values {
				code, err := strconv.Unquote(val.(*ast.BasicLit).Value)
				if err != nil {
					t.Fatal(err)
				}
				source = append(source, chat.Code(code))
			}
		}
	}
	if !slices.Equal(chat.Codes, source) {
		t.Fatalf("got %v; want %v", chat.Codes, source)
	}
}

func TestErrorWithinAnErrorIsFound(t *testing.T) {
	refused := chat.Retry(chat.RateLimited, 3*time.Second, "slow down")
	wrapped := fmt.Errorf("api: send: %w", refused)
	if !chat.Is(wrapped, chat.RateLimited) || chat.Is(wrapped, chat.Internal) || chat.Is(nil, chat.RateLimited) {
		t.Fatalf("codes of %v are not told apart", wrapped)
	}
	if got := chat.AsError(wrapped); got != refused || got.RetryAfter != 3*time.Second {
		t.Fatalf("got %+v; want %+v", got, refused)
	}
	if got, want := refused.Error(), "rate_limited: slow down"; got != want {
		t.Fatalf("got %q; want %q", got, want)
	}
}

func TestCauseOfAnInternalErrorIsNotShown(t *testing.T) {
	got := chat.AsError(errors.New("dial tcp 10.0.0.7: password=hunter2"))
	if got.Code != chat.Internal || got.Message == "" || strings.Contains(got.Message, "hunter2") {
		t.Fatalf("got %+v; want a sentence that says nothing of the cause", got)
	}
}
