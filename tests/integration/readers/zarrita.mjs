// Read a store with zarrita: `node zarrita.mjs PLACE OUT`, with PLACE a folder or an http:// URL.
// Prints as JSON what there is, with text as it is; numbers are written to OUT, as they are in memory, a file for each array.

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import * as zarr from "zarrita";
import FileSystemStore from "@zarrita/storage/fs";

const [place, out] = process.argv.slice(2);
// The ranges of one shard are merged, as any page should: by itself zarrita opens a connection for each of 520 chunks.
const web = () => zarr.withRangeCoalescing(new zarr.FetchStore(place, { useSuffixRequest: true }));
const objects = place.startsWith("http") ? web() : new FileSystemStore(place);
const store = await zarr.withConsolidatedMetadata(objects, { format: "v3" });
const group = await zarr.open.v3(store, { kind: "group" });
const open = (name) => zarr.open.v3(group.resolve(name), { kind: "array" });

// Give text, or write numbers down.
function told(name, data) {
  if (Array.isArray(data)) return { text: data };
  writeFileSync(join(out, name), new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  return {};
}

const arrays = {};
for (const { path, kind } of store.contents()) {
  if (kind !== "array") continue;
  const name = path.slice(1);
  const array = await open(name);
  const { data } = await zarr.get(array);
  arrays[name] = { dtype: array.dtype, shape: array.shape, dims: array.dimensionNames, attrs: array.attrs, ...told(name, data) };
}

// One band of one scene, as a web page draws it, and a window of three bands across chunks.
const reflectance = await open("reflectance");
const parts = {
  "part-band": await zarr.get(reflectance, [3, null, null, 8]),
  "part-window": await zarr.get(reflectance, [4, zarr.slice(20, 40), zarr.slice(30, 35), zarr.slice(1, 4)]),
};
for (const [name, { data, shape }] of Object.entries(parts)) arrays[name] = { shape, ...told(name, data) };

console.log(JSON.stringify({ attrs: group.attrs, arrays }));
