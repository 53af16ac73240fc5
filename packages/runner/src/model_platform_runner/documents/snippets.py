"""A working call of an endpoint in four languages, ready to copy. The token is read from the environment."""

import json
from typing import Any

VARIABLE = "ENDPOINT_TOKEN"


def snippets(url: str, rows: list[Any], *, token: bool) -> dict[str, str]:
    """Return the plain call with these rows, by language.

    Parameters
    ----------
    url
        Of the endpoint.
    rows
        What to send.
    token
        Whether the endpoint demands one.
    """
    pretty = json.dumps(rows, indent=2, ensure_ascii=False)
    compact = json.dumps(rows, ensure_ascii=False)
    return {
        "curl": _curl(url, compact, token=token),
        "python": _python(url, rows, token=token),
        "javascript": _javascript(url, pretty, token=token),
        "java": _java(url, compact, token=token),
    }


def _curl(url: str, rows: str, *, token: bool) -> str:
    quoted = rows.replace("'", "'\\''")
    lines = ["curl -H 'Content-Type: application/json'", f"-d '{quoted}'", url]
    if token:
        lines.insert(1, f'-H "Authorization: Bearer ${VARIABLE}"')
    return " \\\n  ".join(lines)


def _python(url: str, rows: list[Any], *, token: bool) -> str:
    bearer = f'headers["Authorization"] = "Bearer " + os.environ["{VARIABLE}"]\n' if token else ""
    return (
        f"import json\n{'import os' + chr(10) if token else ''}import urllib.request\n\n"
        f"rows = [\n{''.join(f'    {row!r},{chr(10)}' for row in rows)}]\n"
        'headers = {"Content-Type": "application/json"}\n'
        f"{bearer}"
        f"request = urllib.request.Request({json.dumps(url)}, json.dumps(rows).encode(), headers)\n"
        "print(json.load(urllib.request.urlopen(request)))\n"
    )


def _javascript(url: str, rows: str, *, token: bool) -> str:
    bearer = f'    "Authorization": `Bearer ${{process.env.{VARIABLE}}}`,\n' if token else ""
    return (
        f"const rows = {rows};\n\n"
        f"const response = await fetch({json.dumps(url)}, {{\n"
        '  method: "POST",\n'
        "  headers: {\n"
        '    "Content-Type": "application/json",\n'
        f"{bearer}"
        "  },\n"
        "  body: JSON.stringify(rows),\n"
        "});\n"
        "console.log(await response.json());\n"
    )


def _java(url: str, rows: str, *, token: bool) -> str:
    bearer = f'            .header("Authorization", "Bearer " + System.getenv("{VARIABLE}"))\n' if token else ""
    return (
        "import java.net.URI;\n"
        "import java.net.http.*;\n\n"
        "public class Call {\n"
        "    public static void main(String[] arguments) throws Exception {\n"
        f"        String rows = {json.dumps(rows)};\n"
        f"        HttpRequest request = HttpRequest.newBuilder(URI.create({json.dumps(url)}))\n"
        '            .header("Content-Type", "application/json")\n'
        f"{bearer}"
        "            .POST(HttpRequest.BodyPublishers.ofString(rows))\n"
        "            .build();\n"
        "        System.out.println(HttpClient.newHttpClient()\n"
        "            .send(request, HttpResponse.BodyHandlers.ofString()).body());\n"
        "    }\n"
        "}\n"
    )
