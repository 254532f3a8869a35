"""The library that draws the report of `evaluate`, as one file: `python -m tools.vega`.

To update it, raise vl-convert-python in requirements-dev.txt first.
"""

from importlib.metadata import version

import vl_convert

from tools.sandbox import ROOT

FILE = ROOT / "pipeline" / "stages" / "evaluate" / "assets" / "vega.js"
NOTICE = """\
/*! Vega-Embed {embed}, Vega {vega}, Vega-Lite {lite} and what they import, bundled by vl-convert {convert}.

Vega: Copyright (c) 2013, Trifacta Inc.; (c) 2015-2025, University of Washington Interactive Data Lab.
Vega-Lite, Vega-Embed and Vega-Tooltip: Copyright (c) 2015-2025, University of Washington Interactive Data Lab.
All rights reserved.
Redistribution and use in source and binary forms, with or without modification, are permitted provided that the
following conditions are met: 1. Redistributions of source code must retain the above copyright notice, this list of
conditions and the following disclaimer. 2. Redistributions in binary form must reproduce the above copyright notice,
this list of conditions and the following disclaimer in the documentation and/or other materials provided with the
distribution. 3. Neither the name of the copyright holder nor the names of its contributors may be used to endorse or
promote products derived from this software without specific prior written permission.
THIS SOFTWARE IS PROVIDED BY THE COPYRIGHT HOLDERS AND CONTRIBUTORS "AS IS" AND ANY EXPRESS OR IMPLIED WARRANTIES,
INCLUDING, BUT NOT LIMITED TO, THE IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS FOR A PARTICULAR PURPOSE ARE
DISCLAIMED. IN NO EVENT SHALL THE COPYRIGHT HOLDER OR CONTRIBUTORS BE LIABLE FOR ANY DIRECT, INDIRECT, INCIDENTAL,
SPECIAL, EXEMPLARY, OR CONSEQUENTIAL DAMAGES (INCLUDING, BUT NOT LIMITED TO, PROCUREMENT OF SUBSTITUTE GOODS OR
SERVICES; LOSS OF USE, DATA, OR PROFITS; OR BUSINESS INTERRUPTION) HOWEVER CAUSED AND ON ANY THEORY OF LIABILITY,
WHETHER IN CONTRACT, STRICT LIABILITY, OR TORT (INCLUDING NEGLIGENCE OR OTHERWISE) ARISING IN ANY WAY OUT OF THE USE OF
THIS SOFTWARE, EVEN IF ADVISED OF THE POSSIBILITY OF SUCH DAMAGE.

D3: Copyright 2010-2024 Mike Bostock. topojson-client: Copyright 2012-2019 Michael Bostock.
Permission to use, copy, modify, and/or distribute this software for any purpose with or without fee is hereby granted,
provided that the above copyright notice and this permission notice appear in all copies. THE SOFTWARE IS PROVIDED "AS
IS" AND THE AUTHOR DISCLAIMS ALL WARRANTIES WITH REGARD TO THIS SOFTWARE INCLUDING ALL IMPLIED WARRANTIES OF
MERCHANTABILITY AND FITNESS. IN NO EVENT SHALL THE AUTHOR BE LIABLE FOR ANY SPECIAL, DIRECT, INDIRECT, OR CONSEQUENTIAL
DAMAGES OR ANY DAMAGES WHATSOEVER RESULTING FROM LOSS OF USE, DATA OR PROFITS, WHETHER IN AN ACTION OF CONTRACT,
NEGLIGENCE OR OTHER TORTIOUS ACTION, ARISING OUT OF OR IN CONNECTION WITH THE USE OR PERFORMANCE OF THIS SOFTWARE. */
"""


def bundle() -> str:
    """Return the file's text, the same for the same release of vl-convert; it sets `vegaEmbed`."""
    notice = NOTICE.format(
        embed=vl_convert.get_vega_embed_version(),
        vega=vl_convert.get_vega_version(),
        lite=vl_convert.get_vegalite_versions()[-1],
        convert=version("vl-convert-python"),
    )
    libraries = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return f"{notice}{{{libraries}}}\n"


if __name__ == "__main__":
    FILE.write_text(bundle(), encoding="utf-8", newline="\n")
    print(FILE.relative_to(ROOT))
