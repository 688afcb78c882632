import { Credentials } from "../credentials";

export default function SignIn() {
  return (
    <main>
      <h1>Sign in</h1>
      <Credentials action="login" submit="Sign in" />
    </main>
  );
}
