// A file that is dropped anywhere goes to the place for files, unless it lands on another one.
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  const input = document.querySelector("#zoo-drop input[type=file]");
  if (!input || !event.dataTransfer.files.length || event.target.closest(".zoo-file")) return;
  event.preventDefault();
  input.files = event.dataTransfer.files;
  input.dispatchEvent(new Event("change", { bubbles: true }));
});
// On a phone the results are below the form.
document.addEventListener("click", (event) => {
  if (event.target.closest("#zoo-draw") && innerWidth < 768) document.querySelector("#zoo-state").scrollIntoView();
});
