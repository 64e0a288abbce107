// Pictures that are pasted, and pictures that a browser cannot show.
() => {
  // One that is pasted anywhere on the page is chosen as if it came from a file; text is pasted where it is typed.
  document.addEventListener("paste", event => {
    const picture = [...event.clipboardData.files].find(file => file.type.startsWith("image/"));
    const place = document.querySelector("#picture");
    if (!picture || !place || !place.offsetParent) return;
    event.preventDefault();
    const choose = () => {
      const input = place.querySelector("input[type=file]");
      if (!input) return false;
      const files = new DataTransfer();
      files.items.add(picture);
      input.files = files.files;
      input.dispatchEvent(new Event("change", {bubbles: true}));
      return true;
    };
    if (choose()) return;
    const seen = new MutationObserver(() => choose() && seen.disconnect()); // the field comes with an empty place
    seen.observe(place, {childList: true, subtree: true});
    const [remove, upload] = ["Remove Image", "Upload file"].map(name => place.querySelector(`button[aria-label="${name}"]`));
    (remove ?? upload)?.click();
  });
  // Of HEIC or TIFF there is an answer, but no broken sign in the picture's place.
  for (const [kind, seen] of [["error", "hidden"], ["load", "visible"]])
    document.addEventListener(kind, ({target}) => { if (target.matches?.("#picture img")) target.style.visibility = seen; }, true);
}
