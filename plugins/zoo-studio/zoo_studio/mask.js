// A mask drawn over an image. The component's value is a PNG as a data URL, white where it is drawn; empty: none.
const find = (selector) => element.querySelector(selector);
const canvas = find("canvas"), image = find("img"), size = find("[type=range]"), file = find("[type=file]");
const pen = canvas.getContext("2d");
const INK = [232, 89, 12];
let given = props.value; // of the form's record, for the image that the form begins with
let last = null;

const unlock = (isOpen) => { find(".zoo-mask-area").hidden = find(".zoo-mask-tools").hidden = !isOpen; };
const show = () => {
  unlock(false); // until the image is there: its size empties the canvas, and a stroke made before would be lost
  find(".zoo-hint").hidden = !!props.image;
  if (props.image) image.src = props.image;
};
const keep = () => {
  const { width, height } = canvas;
  const made = Object.assign(document.createElement("canvas"), { width, height });
  const ink = made.getContext("2d");
  ink.drawImage(canvas, 0, 0);
  const isEmpty = !ink.getImageData(0, 0, width, height).data.some((level, at) => at % 4 == 3 && level);
  ink.globalCompositeOperation = "source-in"; // what is drawn becomes white
  ink.fillStyle = "white";
  ink.fillRect(0, 0, width, height);
  ink.globalCompositeOperation = "destination-over"; // and the rest black
  ink.fillStyle = "black";
  ink.fillRect(0, 0, width, height);
  props.value = isEmpty ? "" : made.toDataURL("image/png");
};
const load = async (url) => {
  const mask = Object.assign(new Image(), { src: url });
  await mask.decode();
  pen.clearRect(0, 0, canvas.width, canvas.height);
  pen.drawImage(mask, 0, 0, canvas.width, canvas.height);
  const pixels = pen.getImageData(0, 0, canvas.width, canvas.height);
  for (let at = 0; at < pixels.data.length; at += 4) {
    pixels.data.set([...INK, pixels.data[at]], at); // as opaque as the mask is bright
  }
  pen.putImageData(pixels, 0, 0);
  keep();
};
const place = (event) => {
  const box = canvas.getBoundingClientRect();
  return [((event.clientX - box.left) * canvas.width) / box.width, ((event.clientY - box.top) * canvas.height) / box.height];
};
const stroke = (event) => {
  const now = place(event);
  pen.globalCompositeOperation = find(".zoo-erase").ariaPressed == "true" ? "destination-out" : "source-over";
  pen.strokeStyle = `rgb(${INK})`;
  pen.lineWidth = Math.max(1, (size.value / 100) * Math.max(canvas.width, canvas.height));
  pen.lineCap = pen.lineJoin = "round";
  pen.beginPath();
  pen.moveTo(...(last ?? now));
  pen.lineTo(...now);
  pen.stroke();
  pen.globalCompositeOperation = "source-over";
  last = now;
};
const invert = () => {
  pen.globalCompositeOperation = "xor";
  pen.fillStyle = `rgb(${INK})`;
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.globalCompositeOperation = "source-over";
};

canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  stroke(event);
});
canvas.addEventListener("pointermove", (event) => last && stroke(event));
for (const end of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(end, () => { last = null; keep(); });
}
find(".zoo-erase").addEventListener("click", ({ target }) => { target.ariaPressed = target.ariaPressed != "true"; });
find(".zoo-invert").addEventListener("click", () => { invert(); keep(); });
find(".zoo-clear").addEventListener("click", () => { canvas.width = canvas.width; keep(); });
file.addEventListener("change", () => file.files.length && load(URL.createObjectURL(file.files[0])));
image.addEventListener("load", async () => {
  Object.assign(canvas, { width: image.naturalWidth, height: image.naturalHeight }); // which empties it
  image.classList.toggle("zoo-pixels", image.naturalWidth <= 128);
  await (given ? load(given) : keep());
  given = "";
  unlock(!!props.image);
});
watch("image", show);
show();
